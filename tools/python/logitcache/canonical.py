"""Canonical JSON and the readers of small binary values that every table shares."""

import hashlib
import json
import re
import struct
import zlib

from .errors import LogitCacheError, demand

_DIGEST = re.compile(r"[0-9a-f]{64}")


def canonical_json(value) -> bytes:
    """UTF-8, members sorted by key, no spaces: what is digested."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def parse_canonical(text: bytes, what: str):
    """The value of canonical JSON.

    Raises LogitCacheError when the text is anything but the canonical form of its value.
    """

    def no_fractions(number):
        raise ValueError(f"the number {number} is not an integer")

    try:
        value = json.loads(text.decode(), parse_float=no_fractions, parse_constant=no_fractions)
        same = canonical_json(value) == text
    except (ValueError, RecursionError) as error:
        raise LogitCacheError(f"{what} is damaged: {error}") from None
    demand(same, f"{what} is damaged: it is not canonical JSON")
    return value


def digest(content) -> str:
    """SHA-256 as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def is_digest(value) -> bool:
    """Whether a JSON value is a digest."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def unwrap(value, what: str) -> memoryview:
    """The bytes after the CRC-32 that every stored value begins with."""
    value = memoryview(value)
    demand(len(value) >= 4, f"{what} is damaged: its value has only {len(value)} bytes")
    (stored,) = struct.unpack_from("<I", value)
    computed = zlib.crc32(value[4:])
    demand(
        stored == computed,
        f"{what} is damaged: its checksum is {computed:#010x}, {stored:#010x} is stored",
    )
    return value[4:]


class ByteReader:
    """Takes fields off the front of a value; a field that is not there raises LogitCacheError."""

    def __init__(self, content, what: str):
        self.content = memoryview(content)
        self.what = what
        self.position = 0

    def take(self, count: int) -> memoryview:
        """The next `count` bytes."""
        end = self.position + count
        demand(end <= len(self.content), f"{self.what} is damaged: it ends too early")
        part = self.content[self.position : end]
        self.position = end
        return part

    def unpack(self, layout: str):
        """The next fields, as `struct` describes them."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def variable(self) -> int:
        """A LEB128 integer below 2^64 in its shortest form."""
        value, shift = 0, 0
        while True:
            (byte,) = self.take(1)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
            demand(shift < 70, f"{self.what} is damaged: an integer is too long")
        shortest = byte != 0 or shift == 7
        demand(
            shortest and value < 1 << 64,
            f"{self.what} is damaged: an integer is not in its shortest form",
        )
        return value

    def end(self) -> None:
        """Raises unless everything was taken."""
        demand(
            self.position == len(self.content),
            f"{self.what} is damaged: {len(self.content) - self.position} bytes follow its end",
        )
