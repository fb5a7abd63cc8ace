"""Records at positions: which of them belong to which sample (docs/FORMAT.md, 15)."""

import struct

import numpy as np

from .errors import demand
from .forms import PieceReader, pack_bits, unpack_bits, write_integers
from .manifest import Encoding, class_width

COUNTS, GAPS = 10, 11
_ENTRY = struct.Struct("<BBBBI")


def gaps(counts: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """What is stored of positions: how many each record leaves out after the one before."""
    before = np.concatenate([[-1], positions[:-1]]).astype(np.int64)
    before[_starts(counts)] = -1
    return positions - before - 1


def positions(counts: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """The positions that gaps mean, ascending in each sample."""
    steps = np.cumsum(gaps + 1)
    before = np.concatenate([[0], steps])[_offsets(counts)]
    return steps - np.repeat(before, counts) - 1


def _offsets(counts: np.ndarray) -> np.ndarray:
    """Where the records of each sample begin."""
    return np.cumsum(counts) - counts


def _starts(counts: np.ndarray) -> np.ndarray:
    """The first record of each sample that has any."""
    return _offsets(counts)[counts > 0]


def check(counts, found, encoding: Encoding, what: str) -> None:
    """Refuses places that no block has."""
    maximum = encoding.positions.maximum
    demand(np.all(counts <= maximum), f"{what} is damaged: a sample has too many records")
    demand(np.all(found < maximum), f"{what} is damaged: a position is not below {maximum}")


def of_labels(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Records of each sample, and their positions, where labels [samples, M] are not -1."""
    owners, found = np.nonzero(labels >= 0)
    return np.bincount(owners, minlength=len(labels)).astype(np.int64), found.astype(np.int64)


def pack_labels(labels: np.ndarray, encoding: Encoding) -> bytes:
    """Labels of a block, [samples] or [samples, M], as table `meta` has them."""
    lists = b""
    if encoding.labels_positions:
        counts, found = of_labels(labels)
        planes = [write_integers(counts), write_integers(gaps(counts, found))]
        entries = [
            _ENTRY.pack(number, 0, form, width, len(content))
            for number, (form, width, content) in zip((COUNTS, GAPS), planes)
        ]
        lists = b"".join([*entries, *(content for _, _, content in planes)])
    values = labels[labels >= 0].astype(np.int64)
    return lists + pack_bits(values, class_width(encoding.classes))


def unpack_labels(content, samples: int, encoding: Encoding, what: str) -> np.ndarray:
    """Reads what `pack_labels` wrote, int64; -1 where a position has no label."""
    shape, places = (samples,), slice(None)
    rows = samples
    if encoding.labels_positions:
        counts, found, content = _read_places(content, samples, encoding, what)
        shape = samples, encoding.positions.maximum
        places = np.repeat(np.arange(samples), counts), found
        rows = len(found)
    values = unpack_bits(content, rows, class_width(encoding.classes), what)
    demand(np.all(values < encoding.classes), f"{what} are damaged: a class does not exist")
    labels = np.full(shape, -1, np.int64)
    labels[places] = values
    return labels


def _read_places(content, samples: int, encoding: Encoding, what: str):
    demand(len(content) >= 2 * _ENTRY.size, f"{what} are damaged: they end too early")
    rest = memoryview(content)[2 * _ENTRY.size :]
    lists, count = [], samples
    for index, number in enumerate((COUNTS, GAPS)):
        plane, group, form, width, length = _ENTRY.unpack_from(content, index * _ENTRY.size)
        demand((plane, group) == (number, 0), f"{what} are damaged: their lists are others")
        demand(length <= len(rest), f"{what} are damaged: they end too early")
        reader = PieceReader(rest[:length], what)
        lists.append(reader.integers(count, form, width))
        reader.end()
        rest = rest[length:]
        if number == COUNTS:
            check(lists[0], np.zeros(0), encoding, what)
            count = int(lists[0].sum())
    found = positions(*lists)
    check(lists[0], found, encoding, what)
    return lists[0], found, rest
