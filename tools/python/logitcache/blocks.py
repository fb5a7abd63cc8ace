"""The block codec: canonical bytes to integers and back (docs/FORMAT.md, 5)."""

import struct
from dataclasses import dataclass

import numpy as np
import zstandard

from . import places
from .calibration import BY_FIRST_CLASS, Calibration
from .canonical import unwrap
from .errors import LogitCacheError, demand
from .forms import PieceReader, write_integers
from .manifest import Manifest, largest_block
from .records import Columns
from .tails import TailPredictor

_HEADER = struct.Struct("<4sHHIIQIIIHH32s")
_ENTRY = struct.Struct("<BBBBI")
_IDS, _GAPS, _LARGEST, _RANKS, _LABEL_GAPS, _NORMS = 1, 2, 3, 4, 5, 6
_RANKING, _COEFFICIENTS, _OFFSETS = 7, 8, 9
_TAILS = 16
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


def groups(ranks: int) -> list[range]:
    """Ranks in groups of 1, 1, 2, 4, 8, ..."""
    found, start = [], 0
    while start < ranks:
        end = min(ranks, start + max(1, start))
        found.append(range(start, end))
        start = end
    return found


class Codec:
    """Decodes and encodes the blocks of a cache."""

    def __init__(self, manifest: Manifest, calibration: Calibration):
        encoding = manifest.encoding
        self.manifest = manifest
        self.calibration = calibration
        self.predictor = TailPredictor(encoding, calibration.coefficients)
        self.id_groups, self.gap_groups = groups(encoding.k), groups(encoding.k - 1)
        tails = range(_TAILS, _TAILS + len(encoding.tail_temperatures))
        norms = [] if encoding.feature_width is None else [_NORMS]
        ranked = 0 if encoding.ranking is None else encoding.classes - encoding.k - 1
        self.rank_groups = groups(ranked)
        self.axis_groups = groups(0 if calibration.axes is None else len(calibration.axes))
        offsets = [] if calibration.axes is None else [_OFFSETS]
        # Which positions count is a matter of views, or of labels, which all views share.
        self.places_in_blocks = encoding.positions is not None and not encoding.labels_positions
        own_places = [places.COUNTS, places.GAPS] if self.places_in_blocks else []
        #: Plane and group of every entry of the directory.
        self.entries = [
            *((plane, 0) for plane in own_places),
            *((_IDS, group) for group in range(len(self.id_groups))),
            *((_GAPS, group) for group in range(len(self.gap_groups))),
            *((plane, 0) for plane in (_LARGEST, _RANKS, _LABEL_GAPS, *norms)),
            *((_RANKING, group) for group in range(len(self.rank_groups))),
            *((_COEFFICIENTS, group) for group in range(len(self.axis_groups))),
            *((plane, 0) for plane in (*offsets, *tails)),
        ]

    def _header(self, view: int, block: int, rows: int, view_digest: bytes) -> bytes:
        encoding, samples = self.manifest.encoding, self.manifest.block_samples(block)
        return _HEADER.pack(
            b"LGCB",
            1,
            encoding.codec,
            view,
            block,
            samples.start,
            rows,
            encoding.classes,
            encoding.k,
            len(self.entries),
            0,
            view_digest,
        )

    # Decoding

    def decode(self, content: bytes, view: int, block: int, labels: np.ndarray, what: str) -> Block:
        """Decodes canonical bytes; raises LogitCacheError for any that section 5 rejects.

        `labels` are those that table `meta` holds: of the block's samples, or [samples, M].
        """
        start = _HEADER.size + _ENTRY.size * len(self.entries)
        demand(len(content) >= start, f"{what} is damaged: it has only {len(content)} bytes")
        view_digest = content[_HEADER.size - 32 : _HEADER.size]
        (rows,) = struct.unpack_from("<I", content, 24)
        if self.manifest.encoding.labels_positions:
            counts = [np.count_nonzero(labels >= 0)]
        else:
            counts = self.manifest.block_record_counts(block)
        demand(rows in counts, f"{what} is damaged: its header says {rows} rows")
        demand(
            content[: _HEADER.size] == self._header(view, block, rows, view_digest),
            f"{what} is damaged: its header is not the expected one",
        )
        planes = {}
        for index, entry in enumerate(self.entries):
            plane, group, form, width, length = _ENTRY.unpack_from(
                content, _HEADER.size + _ENTRY.size * index
            )
            demand(
                (plane, group) == entry,
                f"{what} is damaged: its plane directory is not the expected one",
            )
            demand(start + length <= len(content), f"{what} is damaged: it ends too early")
            part = memoryview(content)[start : start + length]
            planes[entry] = _Plane(form, width, part, f"{what}, plane {plane}, group {group},")
            start += length
        demand(start == len(content), f"{what} is damaged: bytes follow its last plane")
        return Block(view_digest.hex(), self._columns(planes, rows, labels, what))

    def _places(self, planes: dict, rows: int, labels: np.ndarray, what: str):
        """Records of each sample and their positions; both None where views have one record."""
        encoding = self.manifest.encoding
        if encoding.labels_positions:
            return places.of_labels(labels)
        if encoding.positions is None:
            return None, None
        counts = planes[places.COUNTS, 0].integers(len(labels))
        demand(counts.sum() == rows, f"{what} is damaged: its samples have other records")
        found = places.positions(counts, planes[places.GAPS, 0].integers(rows))
        places.check(counts, found, encoding, what)
        return counts, found

    def _columns(self, planes: dict, rows: int, labels: np.ndarray, what: str) -> Columns:
        encoding = self.manifest.encoding
        k = encoding.k
        counts, positions = self._places(planes, rows, labels, what)
        if encoding.labels_positions:
            labels = labels[labels >= 0]
        elif counts is not None:
            labels = np.repeat(labels, counts)

        def check(condition, fault):
            demand(np.all(condition), f"{what} is damaged: {fault}")

        digits = _ranks(planes, _IDS, self.id_groups, rows)
        check(digits < encoding.classes - np.arange(k)[:, None], "a digit is too large")
        ids = self._classes(digits, labels)
        deltas = _ranks(planes, _GAPS, self.gap_groups, rows)
        check(deltas <= _LARGEST_LEVEL, "a gap is too large")
        levels = np.zeros((k, rows), np.int64)
        np.cumsum(deltas, axis=0, out=levels[1:])
        check(levels[-1] <= _LARGEST_LEVEL, "a gap is too large")
        largest = planes[_LARGEST, 0].from_smallest(rows)
        check(np.abs(largest) <= _LARGEST_SIGNED, "a largest logit is too large")
        ranks, label_levels = _label_entries(planes, ids, levels, labels, check)
        check(ranks < encoding.classes, "a label's rank does not exist")
        check(label_levels <= _LARGEST_LEVEL, "a label's gap is too large")
        norms = None
        if encoding.feature_width is not None:
            norms = planes[_NORMS, 0].from_smallest(rows)
            in_range = (norms == 0) | ((norms >= 16384) & (norms <= 49152))
            check(in_range, "a feature's norm is out of range")
        ranking = None
        if encoding.ranking is not None:
            behind = _ranks(planes, _RANKING, self.rank_groups, rows)
            left = encoding.classes - k - np.arange(len(behind))
            check(behind < left[:, None], "a digit is too large")
            last = np.zeros((1, rows), np.int64)
            ranking = self._classes(np.concatenate([digits, behind, last]), labels)[k:]
            outside = np.flatnonzero(ranks >= k)
            named = ranking[ranks[outside] - k, outside]
            check(named == labels[outside], "a label's rank contradicts the ranking")
        coefficients = offsets = None
        if self.calibration.axes is not None:
            coefficients = _unzigzag(_ranks(planes, _COEFFICIENTS, self.axis_groups, rows))
            check(np.abs(coefficients) <= _LARGEST_SIGNED, "a coefficient is out of range")
            offsets = planes[_OFFSETS, 0].from_smallest(rows)
            check(np.abs(offsets) <= _LARGEST_SIGNED, "an offset is out of range")
        temperatures = range(len(encoding.tail_temperatures))
        differences = [planes[_TAILS + i, 0].integers(rows) for i in temperatures]
        tails = self.predictor.decode(levels, differences)
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
            ranking=None if ranking is None else ranking.T.astype(np.int32),
            coefficients=None if coefficients is None else coefficients.T.astype(np.int32),
            offsets=None if offsets is None else offsets.astype(np.int32),
            counts=None if counts is None else counts.astype(np.int32),
            positions=None if positions is None else positions.astype(np.int32),
        )

    # Classes as digits

    def _classes(self, digits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The classes [k, rows] that digits stand for."""
        k, orders = len(digits), self.calibration.orders
        digits, keys = digits.copy(), labels
        if self.calibration.key == BY_FIRST_CLASS:
            keys = orders.classes(labels, digits[0])
            digits[0] = orders.ranks(keys, keys)
        # From the last digit on: ranks among those that no earlier class has taken.
        for j in range(k - 2, -1, -1):
            digits[j + 1 :] += digits[j + 1 :] >= digits[j]
        return orders.classes(np.tile(keys, k), digits.ravel()).reshape(digits.shape)

    def _digits(self, ids: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The digits [k, rows] of classes."""
        k, orders = len(ids), self.calibration.orders
        by_first = self.calibration.key == BY_FIRST_CLASS
        keys = ids[0] if by_first else labels
        ranks = orders.ranks(np.tile(keys, k), ids.ravel()).reshape(ids.shape)
        digits = ranks.copy()
        for j in range(1, k):
            digits[j] -= (ranks[:j] < ranks[j]).sum(axis=0)
        if by_first:
            digits[0] = orders.ranks(labels, ids[0])
        return digits

    # Encoding again, which shows that bytes are the ones that belong to the integers

    def encode(self, block: Block, view: int, number: int) -> bytes:
        """The canonical bytes of decoded records."""
        columns, encoding = block.columns, self.manifest.encoding
        ids, levels = columns.ids.astype(np.int64).T, columns.levels.astype(np.int64).T
        if columns.ranking is not None:
            ids = np.concatenate([ids, columns.ranking.astype(np.int64).T[:-1]])
        digits = self._digits(ids, columns.labels.astype(np.int64))
        deltas = np.diff(levels, axis=0)
        outside = columns.label_ranks >= encoding.k
        ranks = np.where(outside, columns.label_ranks.astype(np.int64) - encoding.k + 1, 0)
        planes = []
        if self.places_in_blocks:
            counts, found = (a.astype(np.int64) for a in (columns.counts, columns.positions))
            planes = [write_integers(counts), write_integers(places.gaps(counts, found))]
        planes += [
            *(write_integers(digits[group.start : group.stop]) for group in self.id_groups),
            *(write_integers(deltas[group.start : group.stop]) for group in self.gap_groups),
            _write_from_smallest(columns.largest),
            write_integers(ranks),
            write_integers((columns.label_levels - levels[-1])[outside]),
        ]
        if columns.feature_norms is not None:
            planes.append(_write_from_smallest(columns.feature_norms))
        behind = digits[encoding.k :]
        planes += [write_integers(behind[group.start : group.stop]) for group in self.rank_groups]
        if columns.coefficients is not None:
            folded = _zigzag(columns.coefficients.astype(np.int64).T)
            planes += [
                write_integers(folded[group.start : group.stop]) for group in self.axis_groups
            ]
            planes.append(_write_from_smallest(columns.offsets))
        tails = columns.tails.astype(np.int64).T
        planes += [write_integers(plane) for plane in self.predictor.encode(levels, tails)]
        directory = b"".join(
            _ENTRY.pack(*entry, form, width, len(content))
            for entry, (form, width, content) in zip(self.entries, planes, strict=True)
        )
        header = self._header(view, number, columns.rows, bytes.fromhex(block.view_digest))
        return b"".join([header, directory, *(content for _, _, content in planes)])


@dataclass(frozen=True)
class _Plane:
    form: int
    width: int
    content: memoryview
    what: str

    def integers(self, count: int) -> np.ndarray:
        reader = PieceReader(self.content, self.what)
        values = reader.integers(count, self.form, self.width)
        reader.end()
        return values

    def from_smallest(self, count: int) -> np.ndarray:
        reader = PieceReader(self.content, self.what)
        (smallest,) = struct.unpack("<i", reader.take(4))
        values = reader.integers(count, self.form, self.width)
        reader.end()
        return smallest + values


def _zigzag(values: np.ndarray) -> np.ndarray:
    return np.where(values < 0, -2 * values - 1, 2 * values)


def _unzigzag(values: np.ndarray) -> np.ndarray:
    return np.where(values & 1, -(values + 1 >> 1), values >> 1)


def _ranks(planes: dict, plane: int, parts: list[range], rows: int) -> np.ndarray:
    """The integers [ranks, rows] of a plane in groups."""
    values = [
        planes[plane, group].integers(len(part) * rows).reshape(len(part), rows)
        for group, part in enumerate(parts)
    ]
    return np.concatenate(values) if values else np.zeros((0, rows), np.int64)


def _label_entries(planes: dict, ids, levels, labels, check):
    """The labels' ranks and levels: in the head where it has the label, else of planes 4 and 5."""
    k, rows = ids.shape
    coded = planes[_RANKS, 0].integers(rows)
    named = ids == labels
    check(named.any(axis=0) == (coded == 0), "a label's rank contradicts the head")
    ranks = np.where(coded == 0, named.argmax(axis=0), coded - 1 + k)
    outside = np.flatnonzero(coded)
    label_levels = levels[np.minimum(ranks, k - 1), np.arange(rows)]
    label_levels[outside] += planes[_LABEL_GAPS, 0].integers(len(outside))
    return ranks, label_levels


def _write_from_smallest(values: np.ndarray) -> tuple[int, int, bytes]:
    smallest = int(values.min()) if len(values) else 0
    form, width, content = write_integers(values.astype(np.int64) - smallest)
    return form, width, struct.pack("<i", smallest) + content
