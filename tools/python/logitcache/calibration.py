"""What a cache learned before its first block: orders and coefficients (docs/FORMAT.md, 10)."""

import numpy as np

from .canonical import ByteReader
from .errors import demand
from .forms import bits_length, unpack_bits
from .manifest import Encoding, class_width
from .subspace import Axes

NO_KEY, BY_LABEL, BY_FIRST_CLASS = 0, 1, 2
_LARGEST_COEFFICIENT = 2**20


class Calibration:
    """The calibration of a cache.

    `key` says whose order a record's classes are ranked in, `coefficients` [temperature][3 + i]
    foretell the tails in units of 2^-12; `axes` are those of a subspace tail, None without one.
    """

    def __init__(self, content: bytes, encoding: Encoding, what: str):
        """Reads a blob; raises LogitCacheError for any that section 10 rejects."""
        reader = ByteReader(content, what)

        def check(condition, fault):
            demand(np.all(condition), f"{what} is damaged: {fault}")

        magic, version, self.key, temperatures, *counts = reader.unpack("<4sHBBIII")
        beginning, length, lists = counts
        classes, width = encoding.classes, class_width(encoding.classes)
        check(magic == b"LGCC" and version == 1, "it is not a calibration of version 1")
        check(self.key <= BY_FIRST_CLASS, f"it has the unknown key {self.key}")
        check(temperatures == len(encoding.tail_temperatures), "it has other temperatures")
        check(max(counts) <= classes, "it counts more classes than there are")
        some = {self.key > 0, length > 0, lists > 0}
        check(len(some) == 1, "only some of key, lists and their length are 0")
        integers = beginning + lists + lists * length
        packed = reader.take(bits_length(integers * width))
        ids = unpack_bits(packed, integers, width, what)
        self.coefficients = [reader.unpack(f"<{3 + i}i") for i in range(temperatures)]
        self.axes = None
        if encoding.subspace_tail is not None:
            rest = reader.take(len(content) - reader.position)
            self.axes = Axes(rest, encoding, f"{what}: the axes")
        reader.end()
        check(ids < classes, "it names a class that does not exist")
        for row in self.coefficients:
            check(np.abs(row) <= _LARGEST_COEFFICIENT, "a coefficient is out of range")
        first, keys, rest = np.split(ids, [beginning, beginning + lists])
        check(keys[1:] > keys[:-1], "its lists do not ascend")
        check(len(np.unique(first)) == beginning, "its global order names a class twice")
        rest = rest.reshape(lists, length)
        ordered = np.sort(rest, axis=1)
        check(ordered[:, 1:] > ordered[:, :-1], "a list names a class twice")
        self.orders = Orders(classes, first, keys, rest)


class Orders:
    """An order of all classes for every class: its list, then the others in the global order."""

    def __init__(self, classes: int, first: np.ndarray, keys: np.ndarray, lists: np.ndarray):
        others = np.ones(classes, bool)
        others[first] = False
        self._classes = classes
        self._order = np.concatenate([first, np.flatnonzero(others)]).astype(np.int32)
        self._place = np.empty(classes, np.int32)
        self._place[self._order] = np.arange(classes, dtype=np.int32)
        self._keys, self._lists = keys, lists
        count, self._length = lists.shape
        self._stride = classes + 1
        # Of all lists, one after the other and each sorted: members, their ranks, and how many
        # classes that are in no list come before each member in the global order.
        row = np.arange(count)[:, None]
        self._member_ranks = np.argsort(lists, axis=1, kind="stable")
        members = np.take_along_axis(lists, self._member_ranks, 1)
        self._members = (members + row * self._stride).ravel()
        self._member_ranks = self._member_ranks.ravel()
        places = np.sort(self._place[lists], axis=1).astype(np.int64)
        self._places = (places + row * self._stride).ravel()
        self._skips = (places - np.arange(self._length) + row * self._stride).ravel()

    def without_lists(self) -> "Orders":
        """The global order alone."""
        none = np.zeros(0, np.int64)
        return Orders(self._classes, self._order, none, none.reshape(0, 0))

    def _rows(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The list of each key, and whether it has one."""
        if len(self._keys) == 0:
            return np.zeros(keys.shape, np.int64), np.zeros(keys.shape, bool)
        row = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return row, self._keys[row] == keys

    def classes(self, keys: np.ndarray, ranks: np.ndarray) -> np.ndarray:
        """The classes at ranks [m] of the orders of classes `keys` [m]."""
        row, listed = self._rows(keys)
        found = self._order[ranks].astype(np.int64)
        near = np.flatnonzero(listed & (ranks < self._length))
        found[near] = self._lists[row[near], ranks[near]]
        far = np.flatnonzero(listed & (ranks >= self._length))
        rank = ranks[far] - self._length
        base = row[far]
        before = np.searchsorted(self._skips, rank + base * self._stride, "right")
        found[far] = self._order[rank + before - base * self._length]
        return found

    def ranks(self, keys: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """The ranks of classes [m] in the orders of classes `keys` [m]."""
        row, listed = self._rows(keys)
        found = self._place[classes].astype(np.int64)
        chosen = np.flatnonzero(listed)
        base = row[chosen]
        member = classes[chosen] + base * self._stride
        at = np.minimum(np.searchsorted(self._members, member), max(len(self._members) - 1, 0))
        place = found[chosen]
        before = np.searchsorted(self._places, place + base * self._stride) - base * self._length
        outside = self._length + place - before
        if len(chosen):
            inside = self._members[at] == member
            found[chosen] = np.where(inside, self._member_ranks[at], outside)
        return found
