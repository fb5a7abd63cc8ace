"""Data sets in memory and their fingerprint (docs/VIEWS.md, "Data sets")."""

import gzip
import hashlib
import os
import re
import struct
import zlib

import numpy as np

from ..errors import LogitCacheError, demand
from .folders import FolderDataSet, open_folder

_PRESET_FOLDER = "/usr/share/datasets/fashion-mnist"
_PRESETS = {"fashion-mnist/train": "train", "fashion-mnist/test": "t10k"}
# github.com/zalandoresearch/fashion-mnist, "Labels".
_FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


class DataSet:
    """Samples and labels.

    `elements` are images uint8 [n, h, w, c] or features float32 [n, width]; `labels` int32 [n].
    `origin` says what drew the images, where the fingerprint contains that; None elsewhere.
    """

    is_stack = True  # all samples lie in `elements`

    def __init__(self, name: str, elements, labels, class_names, origin: str | None = None):
        """Takes arrays; images may lack the axis of channels."""
        elements, labels = np.asarray(elements), np.asarray(labels)
        if elements.dtype == np.uint8 and elements.ndim == 3:
            elements = elements[..., None]
        self.name = name
        self.origin = origin
        self.elements = elements
        self.class_names = tuple(class_names)
        self.is_images = elements.dtype == np.uint8 and elements.ndim == 4
        is_features = elements.dtype == np.float32 and elements.ndim == 2
        demand(
            self.is_images or is_features,
            f"{name} must hold uint8 [n, h, w(, c)] or float32 [n, width], not {elements.dtype} "
            f"{list(elements.shape)}",
        )
        demand(
            0 < len(elements) < 2**31 and elements[0].size > 0,
            f"{name} has no samples, or too many",
        )
        demand(
            not self.is_images or max(elements.shape[1:3]) <= 4096,
            f"{name} has sides above 4096 pixels",
        )
        demand(
            self.is_images or np.isfinite(elements).all(),
            f"{name} has features that are not finite numbers",
        )
        demand(
            labels.shape == (len(elements),) and np.issubdtype(labels.dtype, np.integer),
            f"{name} has {len(elements)} samples and labels {labels.dtype} {list(labels.shape)}",
        )
        demand(
            labels.min() >= 0 and labels.max() < len(self.class_names),
            f"{name} has labels outside its {len(self.class_names)} classes",
        )
        self.labels = labels.astype(np.int32)

    def __len__(self) -> int:
        return len(self.labels)

    def slice(self, begin: int, end: int) -> "DataSet":
        """The samples from `begin` up to but not including `end`, numbered from 0."""
        demand(
            0 <= begin < end <= len(self),
            f"{self.name} has {len(self)} samples, not [{begin}:{end}]",
        )
        return DataSet(
            f"{self.name}[{begin}:{end}]",
            self.elements[begin:end],
            self.labels[begin:end],
            self.class_names,
            self.origin,
        )

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return self.elements.shape[1:]

    @property
    def dtype(self) -> np.dtype:
        """The type of elements."""
        return self.elements.dtype

    def pictures(self, samples) -> list[np.ndarray]:
        """Samples as pictures [h, w, c]."""
        return list(self.elements[samples])

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the content, as docs/VIEWS.md defines it."""
        builder = hashlib.sha256(b"logitcache data set 1\n")
        builder.update(b"image\n" if self.is_images else b"features\n")
        shape = self.elements.shape[1:]
        builder.update(struct.pack(f"<{len(shape)}Q", *shape))
        builder.update(struct.pack("<QQ", len(self), len(self.class_names)))
        for name in self.class_names:
            text = name.encode()
            builder.update(struct.pack("<Q", len(text)) + text)
        builder.update(self.labels.astype("<i4").tobytes())
        rows = max(1, (1 << 24) // self.elements[0].size)
        little = self.elements.dtype.newbyteorder("<")
        for start in range(0, len(self), rows):
            builder.update(self.elements[start : start + rows].astype(little).tobytes())
        if self.origin is not None:
            text = self.origin.encode()
            builder.update(b"origin\n" + struct.pack("<Q", len(text)) + text)
        return builder.hexdigest()


def open_data_set(spec: str) -> DataSet | FolderDataSet:
    """Opens `fashion-mnist/train` or `/test` (Debian package dataset-fashion-mnist), a description
    of picture files (`kind: folder`), or a range of them, such as `fashion-mnist/train[0:500]`."""
    match = re.fullmatch(r"(.*?)(?:\[(\d+):(\d+)\])?", spec, re.DOTALL)
    name, begin, end = match.groups()
    if name.endswith((".yaml", ".yml")):
        folder = open_folder(name)
        return folder if begin is None else folder.slice(int(begin), int(end))
    demand(name in _PRESETS, f"there is no data set '{name}', only {', '.join(sorted(_PRESETS))}")
    part = os.path.join(_PRESET_FOLDER, _PRESETS[name])
    images, labels = f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz"
    demand(
        os.path.exists(images) and os.path.exists(labels),
        f"{name} is not installed: apt-get install dataset-fashion-mnist",
    )
    whole = DataSet(name, read_idx(images), read_idx(labels), _FASHION_CLASSES)
    return whole if begin is None else whole.slice(int(begin), int(end))


def read_idx(path) -> np.ndarray:
    """Reads an IDX file of unsigned bytes, plain or packed with gzip.

    `0 0 8 rank`, then `rank` big-endian lengths, then the elements, last axis fastest.
    """
    path = os.fspath(path)
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else open(path, "rb") as file:
            start = file.read(4)
            demand(
                len(start) == 4 and start[:3] == b"\0\0\x08" and 1 <= start[3] <= 4,
                f"{path} is not an IDX file of unsigned bytes",
            )
            header = file.read(4 * start[3])
            demand(len(header) == 4 * start[3], f"{path} is cut off in its header")
            shape = struct.unpack(f">{start[3]}I", header)
            size = int(np.prod(shape, dtype=object))
            content = _read_up_to(file, size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise LogitCacheError(f"cannot read {path}: {error}") from None
    demand(
        len(content) == size,
        f"{path} does not have the {size} elements that its lengths {list(shape)} ask for",
    )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _read_up_to(file, count: int) -> bytearray:
    """At most `count` bytes, in pieces: a header that claims too much allocates nothing."""
    content = bytearray()
    while len(content) < count and (piece := file.read(min(count - len(content), 1 << 20))):
        content += piece
    return content
