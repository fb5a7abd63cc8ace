"""seal.json: what every byte of a sealed data.mdb must be (docs/FORMAT.md, 8)."""

import hashlib
import os
from dataclasses import dataclass

from .canonical import is_digest, parse_canonical
from .errors import LogitCacheError, demand

_LONGEST = 1 << 20
_CHUNKS = 4096
_MEMBERS = {"formatVersion", "cacheDigest", "fingerprint", "dataBytes", "chunkBytes", "chunks"}


@dataclass(frozen=True)
class Seal:
    """Digests of a cache and of each chunk of its data file."""

    cache_digest: str
    fingerprint: str
    data_bytes: int
    chunk_bytes: int
    chunks: tuple[str, ...]

    def damaged_chunks(self, path: str) -> list[str]:
        """A line for each chunk of the data file that is not what was sealed."""
        lines = []
        with open(path, "rb") as file:
            for index, wanted in enumerate(self.chunks):
                found = hashlib.sha256()
                left = self.chunk_bytes
                while left and (part := file.read(min(left, 1 << 20))):
                    found.update(part)
                    left -= len(part)
                if found.hexdigest() != wanted:
                    start = index * self.chunk_bytes
                    end = min(start + self.chunk_bytes, self.data_bytes)
                    lines.append(f"bytes {start}..<{end} of data.mdb are not what was sealed")
        return lines


def chunk_size(data_bytes: int) -> int:
    """2^20, doubled until there are at most 4,096 chunks."""
    size = 1 << 20
    while -(-data_bytes // size) > _CHUNKS:
        size *= 2
    return size


def read_seal(folder: str) -> Seal | None:
    """Reads `seal.json` and compares the data file's length; None when there is none."""
    path = os.path.join(folder, "seal.json")
    try:
        with open(path, "rb") as file:
            text = file.read(_LONGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LogitCacheError(f"cannot read {path}: {error.strerror}") from None
    demand(len(text) <= _LONGEST and text.endswith(b"\n"), f"{path} is damaged")
    seal = _parse(parse_canonical(text[:-1], path), path)
    data = os.path.join(folder, "data.mdb")
    found = os.path.getsize(data)
    demand(
        found == seal.data_bytes,
        f"{data} has {found} bytes, it was sealed with {seal.data_bytes}: it is cut off or too "
        "long; fetch or precompute it again",
    )
    return seal


def _parse(document, path: str) -> Seal:
    def is_count(name):
        return type(document[name]) is int and document[name] > 0

    sound = (
        isinstance(document, dict)
        and document.keys() == _MEMBERS
        and type(document["formatVersion"]) is int
        and document["formatVersion"] == 1
        and is_count("dataBytes")
        and is_count("chunkBytes")
        and is_digest(document["cacheDigest"])
        and is_digest(document["fingerprint"])
        and isinstance(document["chunks"], list)
        and all(map(is_digest, document["chunks"]))
    )
    demand(sound, f"{path} is damaged, or was written by another version")
    data_bytes, chunk_bytes = document["dataBytes"], document["chunkBytes"]
    demand(
        chunk_bytes == chunk_size(data_bytes)
        and len(document["chunks"]) == -(-data_bytes // chunk_bytes),
        f"{path} is damaged: its chunks do not cover {data_bytes} bytes",
    )
    return Seal(
        document["cacheDigest"],
        document["fingerprint"],
        data_bytes,
        chunk_bytes,
        tuple(document["chunks"]),
    )
