"""The block codec: canonical bytes to integers and back (docs/FORMAT.md, 5)."""

import struct
from dataclasses import dataclass

import numpy as np
import zstandard

from .canonical import unwrap
from .errors import LogitCacheError, demand
from .manifest import Manifest, largest_block
from .records import Columns

_HEADER = struct.Struct("<4sHHIIQIIIHH32s")
_ENTRY = struct.Struct("<BBHI")
_IDS, _GAPS, _LARGEST, _RANKS, _LABEL_IDS, _LABEL_GAPS, _NORMS, _TAILS = 1, 2, 3, 4, 5, 6, 7, 16
_ESCAPED = 0
_LARGEST_LEVEL = 2**28
_LARGEST_SIGNED = 2**30


@dataclass(frozen=True)
class Block:
    """A decoded block."""

    view_digest: str
    columns: Columns


def unpack(value, manifest: Manifest, what: str) -> bytes:
    """The canonical bytes of a value of table `blocks`; its length is bounded first."""
    payload = unwrap(value, what)
    demand(len(payload) >= 4, f"{what} is damaged: its length is missing")
    (length,) = struct.unpack_from("<I", payload)
    most = largest_block(manifest.encoding)
    demand(length <= most, f"{what} is damaged: it claims {length} bytes, at most {most} can be")
    frame = payload[4:]
    try:
        claimed = zstandard.get_frame_parameters(frame).content_size
        demand(claimed == length, f"{what} is damaged: its frame claims {claimed} bytes")
        content = zstandard.ZstdDecompressor().decompress(
            frame, max_output_size=length, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise LogitCacheError(f"{what} is damaged: {error}") from None
    demand(len(content) == length, f"{what} is damaged: its frame yields {len(content)} bytes")
    return content


def _header(manifest: Manifest, view: int, block: int, view_digest: bytes) -> bytes:
    encoding, samples = manifest.encoding, manifest.block_samples(block)
    return _HEADER.pack(
        b"LGCB",
        1,
        encoding.codec,
        view,
        block,
        samples.start,
        len(samples),
        encoding.classes,
        encoding.k,
        len(_plane_numbers(manifest)),
        0,
        view_digest,
    )


def _plane_numbers(manifest: Manifest) -> list[int]:
    encoding = manifest.encoding
    features = [] if encoding.feature_width is None else [_NORMS]
    tails = [_TAILS + i for i in range(len(encoding.tail_temperatures))]
    return [_IDS, _GAPS, _LARGEST, _RANKS, _LABEL_IDS, _LABEL_GAPS, *features, *tails]


def _id_width(classes: int) -> int:
    return max(1, -(-(classes - 1).bit_length() // 8))


# Decoding


def decode(content: bytes, manifest: Manifest, view: int, block: int, what: str) -> Block:
    """Decodes canonical bytes; raises LogitCacheError for any that section 5 rejects."""
    numbers = _plane_numbers(manifest)
    start = _HEADER.size + _ENTRY.size * len(numbers)
    demand(len(content) >= start, f"{what} is damaged: it has only {len(content)} bytes")
    view_digest = content[_HEADER.size - 32 : _HEADER.size]
    demand(
        content[: _HEADER.size] == _header(manifest, view, block, view_digest),
        f"{what} is damaged: its header is not the expected one",
    )
    planes = {}
    for index, number in enumerate(numbers):
        found, form, reserved, length = _ENTRY.unpack_from(
            content, _HEADER.size + _ENTRY.size * index
        )
        demand(
            found == number and reserved == 0,
            f"{what} is damaged: its plane directory is not the expected one",
        )
        planes[number] = _Plane(form, content[start : start + length], f"{what}, plane {number},")
        demand(start + length <= len(content), f"{what} is damaged: it ends too early")
        start += length
    demand(start == len(content), f"{what} is damaged: bytes follow its last plane")
    columns = _columns(planes, manifest, len(manifest.block_samples(block)), what)
    return Block(view_digest.hex(), columns)


@dataclass(frozen=True)
class _Plane:
    form: int
    content: bytes
    what: str

    def integers(self, count: int, form: int | None) -> np.ndarray:
        """`count` integers; `form` is the one demanded, None any width of split."""
        fits = self.form in range(1, 5) if form is None else self.form == form
        demand(fits, f"{self.what} is damaged: it has form {self.form}")
        content = np.frombuffer(self.content, np.uint8)
        return self._escaped(content, count) if form == _ESCAPED else self._split(content, count)

    def _split(self, content: np.ndarray, count: int) -> np.ndarray:
        self._demand_length(len(content), self.form * count)
        values = np.zeros(count, np.int64)
        for byte, column in enumerate(content.reshape(self.form, count)):
            values |= column.astype(np.int64) << 8 * byte
        return values

    def _escaped(self, content: np.ndarray, count: int) -> np.ndarray:
        values = content[:count].astype(np.int64)
        places = np.flatnonzero(values == 255)
        self._demand_length(len(content), count + 4 * len(places))
        escapes = np.frombuffer(content[count:].tobytes(), "<u4")
        demand(np.all(escapes >= 255), f"{self.what} is damaged: an escape is below 255")
        values[places] = escapes
        return values

    def _demand_length(self, found: int, wanted: int) -> None:
        demand(found == wanted, f"{self.what} is damaged: it has {found} bytes, not {wanted}")


def _columns(planes: dict[int, _Plane], manifest: Manifest, rows: int, what: str) -> Columns:
    encoding = manifest.encoding
    classes, k, width = encoding.classes, encoding.k, _id_width(encoding.classes)

    def check(condition, fault):
        demand(np.all(condition), f"{what} is damaged: {fault}")

    ids = planes[_IDS].integers(k * rows, width).reshape(k, rows)
    check(ids < classes, "it names a class that does not exist")
    deltas = planes[_GAPS].integers((k - 1) * rows, _ESCAPED).reshape(k - 1, rows)
    levels = np.zeros((k, rows), np.int64)
    check(deltas <= _LARGEST_LEVEL, "a gap is too large")
    np.cumsum(deltas, axis=0, out=levels[1:])
    check(levels <= _LARGEST_LEVEL, "a gap is too large")
    largest = _unzigzag(planes[_LARGEST].integers(rows, None))
    check(np.abs(largest) <= _LARGEST_SIGNED, "a largest logit is too large")
    ranks = planes[_RANKS].integers(rows, _ESCAPED)
    check(ranks < classes, "a label's rank does not exist")
    labels, label_levels = _labels(planes, ids, levels, ranks, width)
    check(labels < classes, "a label does not exist")
    check(label_levels <= _LARGEST_LEVEL, "a label's gap is too large")
    norms = None
    if encoding.feature_width is not None:
        norms = planes[_NORMS].integers(rows, 2)
        check(
            (norms == 0) | ((norms >= 16384) & (norms <= 49152)), "a feature's norm is out of range"
        )
    tails = _tails(planes, manifest, levels[k - 1])
    check(np.abs(tails) <= _LARGEST_SIGNED, "a tail is too large")
    return Columns(
        ids=ids.T.astype(np.int32),
        levels=levels.T.astype(np.int32),
        largest=largest.astype(np.int32),
        labels=labels.astype(np.int32),
        label_ranks=ranks.astype(np.int32),
        label_levels=label_levels.astype(np.int32),
        tails=tails.T.astype(np.int32),
        feature_norms=None if norms is None else norms.astype(np.int32),
    )


def _labels(planes, ids, levels, ranks, width):
    """Labels and their levels: of the head where the rank is in it, else from planes 5 and 6."""
    k, rows = ids.shape
    outside = np.flatnonzero(ranks >= k)
    place = np.minimum(ranks, k - 1)
    labels = ids[place, np.arange(rows)]
    label_levels = levels[place, np.arange(rows)]
    labels[outside] = planes[_LABEL_IDS].integers(len(outside), width)
    label_levels[outside] += planes[_LABEL_GAPS].integers(len(outside), _ESCAPED)
    return labels, label_levels


def _shifts(manifest: Manifest, last_levels: np.ndarray) -> list[np.ndarray]:
    encoding = manifest.encoding
    return [
        last_levels
        * encoding.tail_steps_per_nat
        * t.denominator
        // (encoding.steps_per_nat * t.numerator)
        for t in encoding.tail_temperatures
    ]


def _tails(planes, manifest: Manifest, last_levels: np.ndarray) -> np.ndarray:
    shifts = _shifts(manifest, last_levels)
    tails = np.zeros((len(shifts), len(last_levels)), np.int64)
    prediction = None
    for i, shift in enumerate(shifts):
        residuals = _unzigzag(planes[_TAILS + i].integers(len(last_levels), None))
        prediction = -shift if i == 0 else tails[i - 1] + shifts[i - 1] - shift
        tails[i] = prediction + residuals
    return tails


def _unzigzag(values: np.ndarray) -> np.ndarray:
    return values >> 1 ^ -(values & 1)


# Encoding again, which shows that bytes are the ones that belong to the integers


def encode(block: Block, manifest: Manifest, view: int, number: int) -> bytes:
    """The canonical bytes of decoded records."""
    columns, encoding = block.columns, manifest.encoding
    width = _id_width(encoding.classes)
    ids = columns.ids.astype(np.int64).T
    levels = columns.levels.astype(np.int64).T
    outside = columns.label_ranks >= encoding.k
    planes = [
        _write_split(ids, width),
        _write_escaped(np.diff(levels, axis=0)),
        _write_split(_zigzag(columns.largest)),
        _write_escaped(columns.label_ranks),
        _write_split(columns.labels[outside], width),
        _write_escaped((columns.label_levels - levels[-1])[outside]),
    ]
    if columns.feature_norms is not None:
        planes.append(_write_split(columns.feature_norms, 2))
    tails = columns.tails.astype(np.int64).T
    shifts = _shifts(manifest, levels[-1])
    for i, shift in enumerate(shifts):
        prediction = -shift if i == 0 else tails[i - 1] + shifts[i - 1] - shift
        planes.append(_write_split(_zigzag(tails[i] - prediction)))
    directory = b"".join(
        _ENTRY.pack(plane, form, 0, len(content))
        for plane, (form, content) in zip(_plane_numbers(manifest), planes)
    )
    header = _header(manifest, view, number, bytes.fromhex(block.view_digest))
    return b"".join([header, directory, *(content for _, content in planes)])


def _zigzag(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.int64)
    return values << 1 ^ values >> 63


def _write_split(values: np.ndarray, width: int | None = None) -> tuple[int, bytes]:
    """The form and bytes of a split plane; the narrowest one without a width."""
    if width is None:
        width = max(1, -(-int(values.max(initial=0)).bit_length() // 8))
    flat = values.ravel()
    columns = [(flat >> 8 * byte & 255).astype(np.uint8).tobytes() for byte in range(width)]
    return width, b"".join(columns)


def _write_escaped(values: np.ndarray) -> tuple[int, bytes]:
    flat = values.ravel()
    escapes = flat[flat >= 255].astype("<u4").tobytes()
    return _ESCAPED, np.minimum(flat, 255).astype(np.uint8).tobytes() + escapes
