"""LMDB environments, one for each file and process.

LMDB must not open a file twice in one process, so all who open it share the environment. Without
a lock file it is only a read-only map, which a forked child inherits.
"""

import os
import threading

import lmdb

from .errors import LogitCacheError, demand

TABLES = ("blocks", "index", "meta")
# Address space beside a writer, whose file grows; nothing of it is memory.
_ROOM = 1 << 40

_guard = threading.Lock()
_stores: dict[tuple[int, int], "Store"] = {}


class Store:
    """An open data.mdb; `release` it once for each time it was given out."""

    def __init__(self, folder: str, status: os.stat_result, beside_writer: bool):
        self.path = folder
        self.beside_writer = beside_writer
        self._key = status.st_dev, status.st_ino
        self._process = os.getpid()
        self._users = 0
        try:
            self._environment = lmdb.open(
                folder,
                map_size=_ROOM if beside_writer else status.st_size,
                readonly=True,
                create=False,
                lock=beside_writer,
                max_dbs=len(TABLES),
            )
            self._tables = {
                name: self._environment.open_db(name.encode(), create=False) for name in TABLES
            }
        except lmdb.NotFoundError:
            self._environment.close()
            raise LogitCacheError(f"{folder} holds no tables: no cache was started in it") from None
        except lmdb.Error as error:
            raise LogitCacheError(f"cannot open {folder}: {error}") from None

    @staticmethod
    def acquire(folder: str, beside_writer: bool) -> "Store":
        """The environment of a folder whose file was checked, or is read beside its writer."""
        status = os.stat(os.path.join(folder, "data.mdb"))
        with _guard:
            store = _stores.get((status.st_dev, status.st_ino))
            if store is None:
                store = Store(folder, status, beside_writer)
                _stores[store._key] = store
            demand(
                store.beside_writer == beside_writer,
                f"{folder} was opened in this process while it had a writer, or the reverse: "
                "close it first",
            )
            store._users += 1
            return store

    def release(self) -> None:
        """Closes the environment when the last user is done with it."""
        with _guard:
            self._users -= 1
            if self._users == 0:
                self._environment.close()
                del _stores[self._key]

    def get(self, table: str, key: bytes, read):
        """`read(value)` of a view of the map, inside a transaction; None without a value."""
        with self._begin() as transaction:
            value = transaction.get(key, db=self._tables[table])
            return None if value is None else read(value)

    def keys(self, table: str) -> list[bytes]:
        """All keys of a table, in order."""
        with self._begin() as transaction:
            cursor = transaction.cursor(db=self._tables[table])
            return [bytes(key) for key in cursor.iternext(values=False)]

    def count(self, table: str) -> int:
        """The number of entries of a table."""
        with self._begin() as transaction:
            return transaction.stat(self._tables[table])["entries"]

    def _begin(self):
        demand(
            not self.beside_writer or self._process == os.getpid(),
            f"{self.path} was opened beside its writer by another process: open it here, in a "
            "process that is not a fork of that one",
        )
        return self._environment.begin(buffers=True)
