"""Pictures in JPEG and PNG files (docs/VIEWS.md, "Pictures in files"); needs Pillow and PyYAML."""

import hashlib
import io
import json
import os
import stat
import struct
from dataclasses import dataclass

import numpy as np

from ..errors import LogitCacheError, demand

_LARGEST = 1 << 26
_MEMBERS = {"kind", "name", "path", "size", "channels", "classNames", "others", "first"}


@dataclass(frozen=True)
class _Picture:
    """A file and what it must hold."""

    path: str
    label: int
    format: str
    shape: tuple[int, int, int]
    digest: bytes


class FolderDataSet:
    """Labelled pictures in files, each of its own size; decoded whenever a view needs one."""

    is_images = True
    is_texts = False
    is_stack = False
    positions = 1
    dtype = np.dtype(np.uint8)

    def __init__(self, name: str, shape, pictures, class_names, decoders: dict[str, str]):
        self.name = name
        self.sample_shape = tuple(shape)
        self.class_names = tuple(class_names)
        self.labels = np.array([picture.label for picture in pictures], np.int32)
        self._pictures = pictures
        self._decoders = decoders

    def __len__(self) -> int:
        return len(self._pictures)

    def slice(self, begin: int, end: int) -> "FolderDataSet":
        """The samples from `begin` up to but not including `end`, numbered from 0."""
        demand(
            0 <= begin < end <= len(self),
            f"{self.name} has {len(self)} samples, not [{begin}:{end}]",
        )
        return FolderDataSet(
            f"{self.name}[{begin}:{end}]",
            self.sample_shape,
            self._pictures[begin:end],
            self.class_names,
            self._decoders,
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the content, as docs/VIEWS.md defines it."""
        builder = hashlib.sha256(b"logitcache data set 1\npictures\n")
        builder.update(struct.pack("<3Q", *self.sample_shape))
        builder.update(struct.pack("<QQ", len(self), len(self.class_names)))
        for name in self.class_names:
            builder.update(_sized(name))
        builder.update(self.labels.astype("<i4").tobytes())
        for picture in self._pictures:
            builder.update(struct.pack("<3Q", *picture.shape) + picture.digest)
        used = {picture.format for picture in self._pictures}
        origin = {"decoders": [self._decoders[name] for name in sorted(used)]}
        builder.update(b"origin\n" + _sized(json.dumps(origin, separators=(",", ":"))))
        return builder.hexdigest()

    def pictures(self, samples: np.ndarray) -> list[np.ndarray]:
        """Samples in their own sizes, uint8 [h, w, channels] each."""
        return [self._read(self._pictures[sample]) for sample in samples]

    def _read(self, picture: _Picture) -> np.ndarray:
        _, pixels = decode(picture.path)
        demand(
            pixels.shape == picture.shape and _digest(pixels) == picture.digest,
            f"{picture.path} does not decode to the picture that {self.name} held when its index "
            f"was written: the file has changed, or Pillow's decoder differs from "
            f"{self._decoders[picture.format]}",
        )
        return _with_channels(pixels, self.sample_shape[2])


def open_folder(path: str) -> FolderDataSet:
    """Opens a description of `kind: folder`, with the index that the program wrote beside it."""
    value = _description(path)
    files, classes = _files(value, path)
    decoders, entries = _index(path + ".index")
    pictures = []
    for file, name, label in files[: value.get("first")]:
        pictures.append(_known(file, label, entries.get(name)))
    size = value["size"]
    shape = size["height"], size["width"], value.get("channels", 3)
    return FolderDataSet(value["name"], shape, pictures, classes, decoders)


def _description(path: str) -> dict:
    try:
        import yaml

        with open(path, encoding="utf-8") as file:
            value = yaml.safe_load(file)
    except ImportError:
        raise LogitCacheError(f"reading {path} needs PyYAML: pip install pyyaml") from None
    except Exception as error:
        raise LogitCacheError(f"cannot read {path}: {error}") from None
    demand(
        isinstance(value, dict) and value.get("kind") == "folder",
        f"{path} is no description of kind 'folder': read texts with read_texts, and give arrays "
        f"to DataSet",
    )
    foreign = sorted(value.keys() - _MEMBERS)
    demand(not foreign, f"{path} has the unknown members {', '.join(foreign)}")
    size = value.get("size")
    sound = isinstance(size, dict) and all(
        type(size.get(side)) is int and 1 <= size[side] <= 4096 for side in ("height", "width")
    )
    demand(
        sound and all(isinstance(value.get(name), str) for name in ("name", "path")),
        f"{path} must have the members name, path and size",
    )
    demand(value.get("channels", 3) in (1, 3), f"{path} must have 1 or 3 channels")
    return value


def _files(value: dict, source: str) -> tuple[list, list[str]]:
    """All files as (path, name, label) in the order of samples, and the classes."""
    path = os.path.join(os.path.dirname(source), value["path"])
    listed = not os.path.isdir(path)
    named = _listed(path) if listed else _found(path, value.get("others") == "skip")
    classes = value.get("classNames") or sorted({name for _, name in named}, key=os.fsencode)
    labels = {name: label for label, name in enumerate(classes)}
    demand(len(labels) == len(classes), f"{source} names a class twice")
    if listed:
        foreign = [name for _, name in named if name not in labels]
        demand(not foreign, f"{path}: '{foreign and foreign[0]}' is not one of the classes")
        folder = os.path.dirname(path)
    else:
        named.sort(key=lambda pair: hashlib.sha256(os.fsencode(pair[0])).digest())
        folder = path
    files = [(os.path.join(folder, f), f, labels[name]) for f, name in named if name in labels]
    empty = set(labels.values()) - {label for _, _, label in files}
    demand(not empty, f"{source} has classes without pictures")
    return files, classes


def _found(root: str, skips_others: bool) -> list[tuple[str, str]]:
    """Pictures and classes of a folder with a folder for each class."""

    def entries(folder):
        try:
            return [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
        except OSError as error:
            raise LogitCacheError(f"cannot open {folder}: {error.strerror}") from None

    named, others = [], []
    for folder in entries(root):
        if not folder.is_dir():
            others.append(folder.path)
            continue
        for entry in entries(folder.path):
            if entry.name.lower().endswith((".jpg", ".jpeg", ".png")) and _may_be_read(entry):
                named.append((f"{folder.name}/{entry.name}", folder.name))
            else:
                others.append(entry.path)
    demand(skips_others or not others, f"{others and others[0]} is no picture of a class")
    return named


def _may_be_read(entry: os.DirEntry) -> bool:
    """Whether it is a file, or nothing that can be looked at: then opening it says why."""
    return entry.is_file() or not os.path.exists(entry.path)


def _listed(path: str) -> list[tuple[str, str]]:
    """Pictures and classes of a list."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LogitCacheError(f"cannot read {path}: {error}") from None
    pairs = [tuple(line.split("\t")) for line in lines if line]
    demand(
        all(len(pair) == 2 and all(pair) for pair in pairs),
        f"{path} must have a path, a tab and a class on each line",
    )
    return pairs


def _index(path: str) -> tuple[dict[str, str], dict]:
    """The decoders and the entries of an index."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise LogitCacheError(
            f"cannot read {path}, which the program writes when it first opens the data set, and "
            f"which names the decoders: {error.strerror}"
        ) from None
    body, last = content[:-69], content[-69:]
    demand(
        last == b"end\t" + hashlib.sha256(body).hexdigest().encode() + b"\n",
        f"{path} is damaged: let the program write it again",
    )
    lines = [line.split("\t") for line in body.decode().rstrip("\n").split("\n")]
    demand(
        lines[0][0] == "logitcache image index 1" and len(lines[0]) == 3,
        f"{path} is no index that is known here",
    )
    return dict(zip(("jpeg", "png"), lines[0][1:])), {line[0]: line[1:] for line in lines[1:]}


def _known(path: str, label: int, entry) -> _Picture:
    """A picture as the index knows it, decoded where the file is newer."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise LogitCacheError(f"cannot read {path}: {error.strerror}") from None
    # Opening a named pipe would wait for somebody who writes to it.
    demand(stat.S_ISREG(status.st_mode), f"cannot read {path}: it is not a regular file")
    if entry and entry[:2] == [str(status.st_size), str(status.st_mtime_ns)]:
        shape = tuple(int(length) for length in entry[3:6])
        return _Picture(path, label, entry[2], shape, bytes.fromhex(entry[6]))
    format, pixels = decode(path)
    return _Picture(path, label, format, pixels.shape, _digest(pixels))


def decode(path: str) -> tuple[str, np.ndarray]:
    """The format of a file and its pixels: grey [h, w, 1] or colours [h, w, 3], uint8."""
    try:
        from PIL import Image
    except ImportError:
        raise LogitCacheError(f"decoding {path} needs Pillow: pip install pillow") from None
    try:
        with open(path, "rb") as file:
            content = file.read()
        with Image.open(io.BytesIO(content), formats=["JPEG", "PNG"]) as image:
            demand(
                image.width * image.height <= _LARGEST,
                f"{path} has {image.height} x {image.width} pixels, at most {_LARGEST} are decoded",
            )
            if image.format == "PNG":
                # Bit 1 of the header's colour type says colour; Pillow's mode does not always.
                return "png", _pixels(image)[..., : 3 if content[25] & 2 else 1]
            return "jpeg", _pixels(image)
    except LogitCacheError:
        raise
    except Exception as error:
        raise LogitCacheError(f"cannot decode {path}: {error}") from None


def _pixels(image) -> np.ndarray:
    """All channels, uint8 [h, w, c]; palettes and inks as red, green and blue."""
    pixels = np.asarray(image)
    if image.mode == "P":
        palette = np.zeros((256, 3), np.uint8)
        known = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        palette[: len(known)] = known
        return palette[pixels]
    if image.mode == "CMYK":  # Pillow turns Adobe's inks around
        inks = 255 - pixels.astype(np.int32)
        return ((inks[..., :3] * inks[..., 3:] + 127) // 255).astype(np.uint8)
    if image.mode == "1":
        pixels = pixels.astype(np.uint8) * 255
    if image.mode.startswith("I"):  # 16 bits of grey
        pixels = (pixels >> 8).astype(np.uint8)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _with_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    weighted = pixels.astype(np.int64) @ np.array([19595, 38470, 7471])
    return (weighted + 32768 >> 16).astype(np.uint8)[..., None]


def _digest(pixels: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(pixels)).digest()


def _sized(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()
