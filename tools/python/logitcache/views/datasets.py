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

    `elements` are images uint8 [n, h, w, c], texts uint8 [n, bytes] (UTF-8, then zeros) or features
    float32 [n, width]; `labels` int32 [n], or [n, positions] where a sample has several: -1 then
    says that a position has none.
    `origin` says what drew the images, where the fingerprint contains that; None elsewhere.
    """

    is_stack = True  # all samples lie in `elements`

    def __init__(self, name: str, elements, labels, class_names, origin: str | None = None):
        """Takes arrays; images may lack the axis of channels.

        Features may have an axis of positions, [n, positions, d], as labels then do; any negative
        label masks its position.
        """
        elements, labels = np.asarray(elements), np.asarray(labels)
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        self.positions = labels.shape[1] if labels.ndim == 2 else 1
        if elements.dtype == np.float32 and elements.ndim == 3:
            demand(
                elements.shape[1] == self.positions,
                f"{name} has features for {elements.shape[1]} positions and labels for "
                f"{self.positions}",
            )
            elements = elements.reshape(len(elements), -1)
        if elements.dtype == np.uint8 and elements.ndim == 3:
            elements = elements[..., None]
        self.name = name
        self.origin = origin
        self.elements = elements
        self.class_names = tuple(class_names)
        self.is_images = elements.dtype == np.uint8 and elements.ndim == 4
        self.is_texts = elements.dtype == np.uint8 and elements.ndim == 2
        is_features = elements.dtype == np.float32 and elements.ndim == 2
        demand(
            self.is_images or self.is_texts or is_features,
            f"{name} must hold uint8 [n, h, w(, c)] or [n, bytes] or float32 [n, width], not "
            f"{elements.dtype} {list(elements.shape)}",
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
            not is_features or np.isfinite(elements).all(),
            f"{name} has features that are not finite numbers",
        )
        if self.is_texts:
            for sample, row in enumerate(elements):
                demand(_is_text(row.tobytes()), f"{name}: sample {sample} is not a text")
        demand(
            labels.ndim in (1, 2)
            and len(labels) == len(elements)
            and labels.size > 0
            and np.issubdtype(labels.dtype, np.integer),
            f"{name} has {len(elements)} samples and labels {labels.dtype} {list(labels.shape)}",
        )
        if self.positions > 1:
            labels = np.maximum(labels.astype(np.int64), -1)
            demand((labels >= 0).any(), f"{name} has no label: every position is masked")
        least = -1 if self.positions > 1 else 0
        demand(
            labels.min() >= least and labels.max() < len(self.class_names),
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
        if self.positions > 1:
            builder.update(b"positions\n" + struct.pack("<Q", self.positions))
        kind = b"image\n" if self.is_images else b"text\n" if self.is_texts else b"features\n"
        builder.update(kind)
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


def read_texts(name: str, paths, class_names, size: int = 128) -> DataSet:
    """Texts from UTF-8 files of lines: a class's name, a tab, the text.

    Longer texts than `size` bytes are cut between characters.
    """
    numbers = {text: number for number, text in enumerate(class_names)}
    labels, rows = [], []
    for path in map(os.fspath, paths):
        # Opening a named pipe would wait for somebody who writes to it.
        special = os.path.exists(path) and not os.path.isfile(path)
        demand(not special, f"cannot read {path}: it is not a regular file")
        try:
            with open(path, "rb") as file:
                lines = file.read().removesuffix(b"\n").split(b"\n")
        except OSError as error:
            raise LogitCacheError(f"cannot read {path}: {error.strerror}") from None
        for number, line in enumerate(lines, 1):
            label, tab, text = line.partition(b"\t")
            place = f"{path}, line {number}"
            demand(tab, f"{place}: there is no tab between a class's name and a text")
            label = label.decode(errors="replace")
            demand(label in numbers, f"{place}: '{label}' is none of the class names")
            sound = _is_text(text) and not any(byte < 32 or byte == 127 for byte in text)
            demand(sound, f"{place}: the text is empty, not UTF-8, or has control characters")
            # What a cut leaves of a character is dropped.
            labels.append(numbers[label])
            cut = text[:size].decode(errors="ignore").encode()
            rows.append(np.frombuffer(cut.ljust(size, b"\0"), np.uint8))
    elements = np.stack(rows) if rows else np.empty((0, size), np.uint8)
    return DataSet(name, elements, np.array(labels, np.int64), class_names)


def _is_text(row: bytes) -> bool:
    """Whether bytes are at least one character in UTF-8, then zeros."""
    text = row.rstrip(b"\0")
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return bool(text) and 0 not in text


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
