"""A walk over an LMDB file's pages before LMDB maps it.

LMDB trusts its file: a damaged page number or length makes it read outside the map, and the
process dies. After `check_pages` every page that LMDB can reach from the newest meta page lies in
the file, is of the right kind, is reached once, and keeps its entries and values inside.

The layout is LMDB 0.9's on 64-bit little-endian machines (`mdb.c`: MDB_page, MDB_meta, MDB_db,
MDB_node). A page begins with its number (8 bytes), a pad (2), flags (2), and the ends of the lower
and upper part (2 + 2), or in the first page of a large value the number of its pages (4). Offsets
of entries (2 bytes each) follow; an entry has a size or the low part of a child (4), flags or its
high part (2), the length of the key (2), the key, and the value, or the page of a large value (8).
"""

import os
import struct
from dataclasses import dataclass

from .errors import LogitCacheError

_HEADER = 16
_BRANCH, _LEAF, _OVERFLOW, _META = 1, 2, 4, 8
_INTEGER_KEY = 8
_NO_ROOT = 2**64 - 1
_TABLE_SIZE = 48
_META_SIZE = _HEADER + 24 + 2 * _TABLE_SIZE + 16
_LONGEST_KEY = 511
_DEEPEST = 32


@dataclass(frozen=True)
class _Table:
    """LMDB's description of a table (MDB_db); `counts` are branch, leaf and overflow pages."""

    pad: int
    flags: int
    depth: int
    counts: tuple[int, int, int]
    entries: int
    root: int

    @classmethod
    def parse(cls, content, offset: int) -> "_Table":
        pad, flags, depth, *counts, entries, root = struct.unpack_from("<IHH5Q", content, offset)
        return cls(pad, flags, depth, tuple(counts), entries, root)


@dataclass(frozen=True)
class _Entry:
    """An entry of a page: a child, a value in the page, a large value, or a table."""

    key: bytes
    flags: int
    size: int
    child: int
    table: _Table | None


def check_pages(path: str, tables: tuple[str, ...]) -> None:
    """Raises LogitCacheError naming the page unless LMDB can read the file safely.

    Any table that is not one of `tables` is refused.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LogitCacheError(f"cannot open {path}: {error.strerror}") from None
    try:
        _Walk(path, file).run(tables)
    finally:
        os.close(file)


class _Walk:
    def __init__(self, path: str, file: int):
        self.path = path
        self.file = file
        self.file_bytes = os.fstat(file).st_size
        self._read_meta()
        self.reached = bytearray(self.last_page + 1)
        self.reached[0:2] = b"\1\1"

    def _demand(self, condition: bool, place: str, fault: str) -> None:
        if not condition:
            raise LogitCacheError(f"{self.path} is damaged: {place} {fault}")

    def _read(self, offset: int, count: int, place: str) -> bytes:
        content = os.pread(self.file, count, offset)
        self._demand(len(content) == count, place, "is cut off")
        return content

    # Meta pages

    def _read_meta(self) -> None:
        """Both meta pages must be sound; the newer one is in force."""
        first = self._meta_page(0, "meta page 0")
        second = self._meta_page(first[0], "meta page 1")
        self._demand(first[0] == second[0], "meta page 1", "disagrees about the page size")
        newest = second if first[-1] < second[-1] else first
        self.page_size, free, self.main, self.last_page, _ = newest
        self._demand(
            self.main.flags == 0 and free.flags == _INTEGER_KEY,
            "the newer meta page",
            "has unexpected table flags",
        )
        self._demand(
            1 <= self.last_page < self.file_bytes // self.page_size,
            "the file",
            f"has {self.file_bytes} bytes, too few for {self.last_page} + 1 pages of "
            f"{self.page_size}: it is cut off",
        )

    def _meta_page(self, offset: int, place: str):
        content = self._read(offset, _META_SIZE, place)
        (flags,) = struct.unpack_from("<H", content, 10)
        magic, version, address = struct.unpack_from("<IIQ", content, _HEADER)
        self._demand(flags == _META and magic == 0xBEEFC0DE, place, "is not one of LMDB's")
        self._demand(version == 1, place, f"has data version {version}, only 1 (LMDB 0.9) is read")
        self._demand(address == 0, place, "asks for a fixed address")
        free = _Table.parse(content, _HEADER + 24)
        main = _Table.parse(content, _HEADER + 24 + _TABLE_SIZE)
        last_page, transaction = struct.unpack_from("<QQ", content, _META_SIZE - 16)
        size = free.pad
        self._demand(
            512 <= size <= 65536 and size & (size - 1) == 0, place, f"has page size {size}"
        )
        return size, free, main, last_page, transaction

    # Tables

    def run(self, allowed: tuple[str, ...]) -> None:
        """Walks the table of tables and every table in it."""
        found: dict[str, _Table] = {}
        for entry in self._entries(self.main, "the table of tables"):
            name = entry.key.decode("utf-8", "replace")
            self._demand(
                name in allowed and name not in found and entry.table is not None,
                "the table of tables",
                f"has a foreign entry {name!r}",
            )
            found[name] = entry.table
        for name, table in sorted(found.items()):
            place = f"table {name!r}"
            self._demand(table.flags == 0, place, "has unknown flags")
            for entry in self._entries(table, place):
                self._demand(entry.table is None, place, "holds a table")

    def _entries(self, table: _Table, name: str):
        """Yields a table's entries in order; at the end compares what was seen with its record."""
        if table.root == _NO_ROOT:
            self._demand(
                table.depth == 0 and table.entries == 0,
                name,
                f"is empty but counts {table.entries} entries",
            )
            return
        self._demand(1 <= table.depth <= _DEEPEST, name, f"has depth {table.depth}")
        seen = {_BRANCH: 0, _LEAF: 0, _OVERFLOW: 0}
        entries, last_key = 0, None
        for place, entry in self._walk(table.root, 1, table.depth, name, seen):
            self._demand(last_key is None or last_key < entry.key, place, "has keys out of order")
            last_key = entry.key
            entries += 1
            yield entry
        self._demand(
            (tuple(seen.values()), entries) == (table.counts, table.entries),
            name,
            f"counts {table.entries} entries on {table.counts} pages, it holds {entries} on "
            f"{tuple(seen.values())}",
        )

    def _walk(self, number: int, level: int, depth: int, name: str, seen: dict):
        """Yields the entries of the leaves below a page, with the name of their page."""
        place = f"page {number} of {name}"
        self._reach(number, place)
        content = self._read(number * self.page_size, self.page_size, place)
        kind = _LEAF if level == depth else _BRANCH
        seen[kind] += 1
        for entry in self._page_entries(content, number, kind, place):
            if kind == _BRANCH:
                yield from self._walk(entry.child, level + 1, depth, name, seen)
                continue
            if entry.flags == 1:
                seen[_OVERFLOW] += self._check_large_value(entry, place)
            yield place, entry

    def _reach(self, number: int, place: str) -> None:
        self._demand(number <= self.last_page, place, f"is past the last page {self.last_page}")
        self._demand(not self.reached[number], place, "is reached twice")
        self.reached[number] = 1

    def _check_large_value(self, entry: _Entry, place: str) -> int:
        """Checks the run of pages that holds a large value; returns how many there are."""
        run = f"overflow page {entry.child}, a value of {place},"
        self._demand(entry.child <= self.last_page, run, "is past the last page")
        header = self._read(entry.child * self.page_size, _HEADER, run)
        number, _, flags, pages = struct.unpack("<QHHI", header)
        # LMDB keeps a long run when a shorter value replaces the one it was made for.
        needed = -(-(_HEADER + entry.size) // self.page_size)
        self._demand(
            needed <= pages <= self.last_page + 1 - entry.child,
            run,
            f"has {pages} pages, its value needs {needed}",
        )
        self._demand(
            number == entry.child and flags == _OVERFLOW, run, "has the header of another page"
        )
        for page in range(entry.child, entry.child + pages):
            self._reach(page, run)
        return pages

    # Pages

    def _page_entries(self, content: bytes, number: int, kind: int, place: str):
        found, _, flags, lower, upper = struct.unpack_from("<QHHHH", content)
        self._demand(found == number and flags == kind, place, "has the header of another page")
        self._demand(
            _HEADER <= lower <= upper <= len(content) and lower % 2 == 0,
            place,
            f"has free space from {lower} to {upper}",
        )
        count = (lower - _HEADER) // 2
        self._demand(count >= (1 if kind == _LEAF else 2), place, f"has only {count} entries")
        for start in struct.unpack_from(f"<{count}H", content, _HEADER):
            entry = None
            if start >= upper and start % 2 == 0:
                entry = _parse_entry(content, start, kind)
            self._demand(entry is not None, place, f"has a malformed entry at {start}")
            yield entry


def _parse_entry(content: bytes, start: int, kind: int) -> _Entry | None:
    """The entry at `start`, or None when it does not lie in the page."""
    if start + 8 > len(content):
        return None
    low, flags, key_size = struct.unpack_from("<IHH", content, start)
    end = start + 8 + key_size
    if key_size > _LONGEST_KEY or end > len(content):
        return None
    key = content[start + 8 : end]
    room = len(content) - end
    if kind == _BRANCH:
        return _Entry(key, 0, 0, low | flags << 32, None)
    if flags == 0 and low <= room:
        return _Entry(key, flags, low, 0, None)
    if flags == 1 and room >= 8:
        return _Entry(key, flags, low, struct.unpack_from("<Q", content, end)[0], None)
    if flags == 2 and low == _TABLE_SIZE and low <= room:
        return _Entry(key, flags, low, 0, _Table.parse(content, end))
    return None
