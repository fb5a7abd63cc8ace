"""The class sums of caches that keep features (docs/FORMAT.md, 12)."""

import hashlib
import struct

import numpy as np

from .canonical import unwrap
from .errors import demand
from .manifest import Manifest

_PREFIX = b"classSums"


class ClassSums:
    """Feature sums of every class that has records: `records` [C] and `sums` [C, D] in steps."""

    def __init__(self, manifest: Manifest, entries, what: str):
        """Reads `entries`, pairs of key and stored value of table `meta`, in key order."""
        encoding = manifest.encoding
        width = encoding.feature_width
        self.records = np.zeros(encoding.classes, np.int64)
        self.sums = np.zeros((encoding.classes, width or 0), np.int64)
        builder = hashlib.sha256()
        for key, value in entries:
            label = _label(bytes(key), manifest, what)
            place = f"{what}: the feature sums of class {label}"
            content = unwrap(value, place)
            demand(
                len(content) == 8 + 8 * width,
                f"{place} are damaged: they have {len(content)} bytes",
            )
            (count,) = struct.unpack_from("<Q", content)
            demand(
                1 <= count <= manifest.samples * manifest.views,
                f"{place} are damaged: they count {count} records",
            )
            sums = np.frombuffer(content, "<i8", offset=8)
            limit = count << 31
            demand(
                np.all((-limit <= sums) & (sums <= limit)),
                f"{place} are damaged: they are too large",
            )
            self.records[label], self.sums[label] = count, sums
            builder.update(struct.pack("<I", label) + content)
        self.digest = builder.digest()

    def means(self) -> np.ndarray:
        """The mean feature of every class, float32 [C, D]; zero for a class without records."""
        return (self.sums / (2.0**16 * np.maximum(self.records, 1))[:, None]).astype(np.float32)


def is_class_sum(key: bytes) -> bool:
    """Whether a key of table `meta` belongs to class sums."""
    return key.startswith(_PREFIX)


def _label(key: bytes, manifest: Manifest, what: str) -> int:
    demand(
        len(key) == len(_PREFIX) + 4 and manifest.encoding.feature_width is not None,
        f"{what} is damaged: it holds feature sums that its manifest does not know",
    )
    label = int.from_bytes(key[len(_PREFIX) :], "big")
    demand(
        label < manifest.encoding.classes,
        f"{what} is damaged: it holds feature sums of class {label}",
    )
    return label
