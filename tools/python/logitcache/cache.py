"""Opening, reading and verifying a cache."""

import fcntl
import hashlib
import os
import struct
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from . import blocks
from .calibration import Calibration
from .canonical import digest, unwrap
from .errors import LogitCacheError, demand
from .features import ClassSums, is_class_sum
from .index import BlockInfo, Certificate
from .manifest import Manifest, parse_manifest
from .pages import check_pages
from .places import pack_labels, unpack_labels
from .records import Records
from .seal import Seal, read_seal
from .store import TABLES, Store
from .subspace import Axes

_LABELS = b"labels"
_KEY = struct.Struct(">II")
_FINDINGS = 100


def open(path, cached_blocks: int = 16) -> "Cache":
    """Opens a cache for reading, after checking that its file cannot make LMDB fail.

    `cached_blocks` decoded blocks are kept in memory. Raises LogitCacheError when there is no
    cache, or when what is read of it at once (seal, pages, manifest, calibration) is damaged.
    """
    return Cache(os.fspath(path), cached_blocks)


@dataclass(frozen=True)
class VerifyReport:
    """What `Cache.verify` read; `digest` is None for an unfinished cache."""

    fingerprint: str
    digest: str | None
    blocks: int
    missing_blocks: int
    records: int
    stored_bytes: int
    canonical_bytes: int


class Cache:
    """An open cache. Several threads may use it; a forked child must open its own."""

    path: str
    manifest: Manifest
    #: The identity of the content, None unless the cache is sealed.
    digest: str | None

    def __init__(self, path: str, cached_blocks: int = 16):
        self.path = path
        self._data = os.path.join(path, "data.mdb")
        try:
            size = os.path.getsize(self._data)
        except OSError:
            size = 0
        demand(size > 0, f"there is no cache in {path}: data.mdb is missing or empty")
        self._seal = read_seal(path)
        self._folder = None
        self._store: Store | None = None
        self._decoded: OrderedDict[tuple[int, int], Records] = OrderedDict()
        self._cached_blocks = max(1, cached_blocks)
        self._lock = threading.Lock()
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        beside_writer = self._seal is None and not self._lock_folder()
        if not beside_writer:
            check_pages(self._data, TABLES)
        self._store = Store.acquire(self.path, beside_writer)
        manifest = self._meta(b"manifest")
        demand(manifest is not None, f"{self.path} holds no manifest: no cache was started in it")
        self.manifest = parse_manifest(manifest, self.path)
        calibration = self._meta(b"calibration")
        demand(calibration is not None, f"{self.path}: the calibration is missing")
        demand(
            digest(calibration) == self.manifest.calibration,
            f"{self.path}: the calibration is not the manifest's",
        )
        what = f"{self.path}: the calibration"
        self._codec = blocks.Codec(
            self.manifest, Calibration(calibration, self.manifest.encoding, what)
        )
        self.digest = self._check_seal(self._seal)

    def _lock_folder(self) -> bool:
        """Keeps writers away from an unfinished cache; False when one is at work."""
        self._folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False

    def _check_seal(self, seal: Seal | None) -> str | None:
        if seal is None:
            return None
        stored = self._meta(b"seal")
        belongs = (
            seal.fingerprint == self.manifest.fingerprint
            and stored is not None
            and seal.cache_digest == stored.hex()
        )
        demand(belongs, f"{self.path}/seal.json belongs to another data.mdb")
        for table in ("blocks", "index"):
            count = self._store.count(table)
            demand(
                count == self.manifest.block_count,
                f"{self.path} is sealed with {count} entries in table '{table}', its manifest asks "
                f"for {self.manifest.block_count} blocks",
            )
        return seal.cache_digest

    def close(self) -> None:
        """Closes the cache's files; reading is over."""
        if self._store is not None:
            self._store.release()
            self._store = None
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None

    def __enter__(self) -> "Cache":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    # Values

    def _get(self, table: str, key: bytes, read):
        demand(self._store is not None, f"{self.path} is closed")
        return self._store.get(table, key, read)

    def _meta(self, key: bytes) -> bytes | None:
        what = f"{self.path}: the value '{key.decode()}' of table meta"
        return self._get("meta", key, lambda value: bytes(unwrap(value, what)))

    def _name(self, view: int, block: int) -> str:
        return f"{self.path}: block {block} of view {view}"

    @property
    def fingerprint(self) -> str:
        """The digest of everything that decides the records."""
        return self.manifest.fingerprint

    @property
    def axes(self) -> Axes | None:
        """What full rows come from, `axes.rebuild(records)`; None without a subspace tail."""
        return self._codec.calibration.axes

    @property
    def calibration(self) -> Calibration:
        """What the cache learned before its first block."""
        return self._codec.calibration

    @property
    def sealed(self) -> bool:
        """Whether the cache is complete and will never be written again."""
        return self.digest is not None

    def block(self, view: int, block: int) -> blocks.Block:
        """Decodes a block into the integers that it stores."""
        content = self._canonical_bytes(view, block)
        return self._codec.decode(content, view, block, self.labels(block), self._name(view, block))

    def labels(self, block: int) -> np.ndarray:
        """The labels of the samples of a block of any view, int64.

        Where positions have labels [samples, M], -1 for those that have none.
        """
        what = f"{self.path}: the labels of block {block}"
        samples = len(self.manifest.block_samples(block))
        return unpack_labels(self._packed_labels(block), samples, self.manifest.encoding, what)

    def _packed_labels(self, block: int) -> bytes:
        what = f"{self.path}: the labels of block {block}"
        packed = self._get(
            "meta",
            _LABELS + struct.pack(">I", block),
            lambda value: bytes(unwrap(value, what)),
        )
        demand(packed is not None, f"{what} are missing")
        return packed

    def _canonical_bytes(self, view: int, block: int) -> bytes:
        what = self._name(view, block)
        demand(self.manifest.contains(view, block), f"{what} does not exist")
        content = self._get(
            "blocks",
            _KEY.pack(view, block),
            lambda value: blocks.unpack(value, self.manifest, what),
        )
        demand(content is not None, f"{what} is not stored: precompute it first")
        return content

    def block_records(self, view: int, block: int) -> Records:
        """The records of a block; the last few are kept in memory. Not to be changed."""
        key = view, block
        with self._lock:
            if key in self._decoded:
                self._decoded.move_to_end(key)
                return self._decoded[key]
        records = self.block(view, block).columns.values(self.manifest.encoding, self.axes)
        with self._lock:
            self._decoded[key] = records
            while len(self._decoded) > self._cached_blocks:
                self._decoded.popitem(last=False)
        return records

    def records(self, samples, view) -> Records:
        """The records of samples, in their order; `view` is one view or one for each sample.

        With positions all records of each sample: `owners` say which of the samples asked for.
        """
        samples = np.asarray(samples, np.int64).reshape(-1)
        views = np.broadcast_to(np.asarray(view, np.int64), samples.shape)
        outside = (samples < 0) | (samples >= self.manifest.samples)
        demand(
            not outside.any(),
            f"{self.path} has no sample {samples[outside][:1]}, it has {self.manifest.samples}",
        )
        places, rows = np.divmod(samples, self.manifest.encoding.block_rows)
        if self.manifest.encoding.positions is not None:
            return self._records_at_positions(views, places, rows)
        found: dict[str, np.ndarray] = {}
        kind = None
        for key in sorted({*zip(views.tolist(), places.tolist())}):
            kind = self.block_records(*key)
            chosen = np.flatnonzero((views == key[0]) & (places == key[1]))
            for name, values in kind.arrays().items():
                if name not in found:
                    found[name] = np.empty((len(samples), *values.shape[1:]), values.dtype)
                found[name][chosen] = values[rows[chosen]]
        demand(kind is not None, "no samples were asked for")
        return kind.with_arrays(found)

    def _records_at_positions(self, views, places, rows) -> Records:
        demand(len(rows) > 0, "no samples were asked for")
        parts, owners = [], []
        for key in sorted({*zip(views.tolist(), places.tolist())}):
            block = self.block_records(*key)
            for index in np.flatnonzero((views == key[0]) & (places == key[1])):
                first, end = np.searchsorted(block.owners, [rows[index], rows[index] + 1])
                parts.append({name: a[first:end] for name, a in block.arrays().items()})
                owners.append(np.full(end - first, index))
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        joined["owners"] = np.concatenate(owners)
        order = np.argsort(joined["owners"], kind="stable")
        arrays = {name: values[order] for name, values in joined.items()}
        return block.with_arrays(arrays, samples=len(rows))

    def info(self, view: int, block: int) -> BlockInfo | None:
        """What is known of a block without reading it; None when it is not stored."""
        what = f"{self._name(view, block)}: its index entry"
        demand(self.manifest.contains(view, block), f"{self._name(view, block)} does not exist")
        rows = self.manifest.block_record_counts(block)
        return self._get(
            "index",
            _KEY.pack(view, block),
            lambda value: BlockInfo.parse(value, self.manifest.encoding, rows, what),
        )

    def stored_blocks(self) -> list[tuple[int, int]]:
        """The (view, block) pairs that are stored, in order."""
        return [key for key in self._keys() if self.info(*key) is not None]

    def columns_digest(self) -> str:
        """SHA-256 of all decoded integers (Tests/Golden/README.md): how two readers compare."""
        builder = hashlib.sha256()
        for key in self.stored_blocks():
            self.block(*key).columns.digest_into(builder)
        return builder.hexdigest()

    def certificate(self) -> Certificate:
        """The measured errors of all stored records."""
        total = Certificate.empty(self.manifest.encoding)
        for key in self._keys():
            if (info := self.info(*key)) is not None:
                total.add(info.certificate)
        return total

    def class_means(self) -> np.ndarray:
        """The teacher's mean feature for each class, float32 [C, D]."""
        demand(
            self.manifest.encoding.feature_width is not None,
            f"{self.path} keeps no features: precompute it again with --features",
        )
        return self._class_sums().means()

    def _class_sums(self) -> ClassSums:
        entries = [
            (key, self._get("meta", key, bytes))
            for key in self._store.keys("meta")
            if is_class_sum(key)
        ]
        return ClassSums(self.manifest, entries, self.path)

    def _awaited_blocks(self):
        """The blocks, without their views, that the class sums count before they are stored."""
        runs = self._meta(b"awaited") or b""
        per_view, last = self.manifest.blocks_per_view, 0
        demand(len(runs) % 16 == 0, f"{self.path}: the awaited blocks are damaged")
        for start, end in struct.iter_unpack("<QQ", runs):
            demand(
                last <= start < end <= self.manifest.block_count,
                f"{self.path}: the awaited blocks are damaged",
            )
            last = end
            for position in range(start, end):
                view, block = divmod(position, per_view)
                if self.info(view, block) is None:
                    yield block

    def _keys(self):
        for view in range(self.manifest.views):
            for block in range(self.manifest.blocks_per_view):
                yield view, block

    # Verifying

    def verify(self) -> VerifyReport:
        """Reads and checks everything; raises LogitCacheError with a line for each thing found."""
        findings = [] if self._seal is None else self._seal.damaged_chunks(self._data)
        if not findings:
            report = self._verify_tables(findings)
        if findings:
            lines = findings[:_FINDINGS]
            if len(findings) > _FINDINGS:
                lines.append(f"and {len(findings) - _FINDINGS} more")
            raise LogitCacheError(f"{self.path} is damaged:\n  " + "\n  ".join(lines))
        return report

    def _verify_tables(self, findings: list[str]) -> VerifyReport:
        manifest = self.manifest
        total = manifest.block_count
        builder = hashlib.sha256(
            b"logitcache 1\n" + bytes.fromhex(manifest.fingerprint) + struct.pack("<Q", total)
        )
        labels = np.zeros(manifest.encoding.classes, np.int64)
        infos = []
        self._verify_labels(findings)
        self._find_foreign_keys(findings)
        for view, block in self._keys():
            try:
                info = self._verify_block(view, block, labels)
            except LogitCacheError as error:
                findings.append(str(error))
                continue
            if info is not None:
                infos.append(info)
                builder.update(
                    struct.pack("<III", view, block, info.rows) + bytes.fromhex(info.digest)
                )
        if not findings:
            self._verify_class_sums(labels, builder, findings)
        if not findings and self.sealed and builder.hexdigest() != self.digest:
            findings.append("the blocks do not have the cache digest that was sealed")
        return VerifyReport(
            manifest.fingerprint,
            self.digest,
            len(infos),
            total - len(infos),
            sum(info.rows for info in infos),
            sum(info.stored_bytes for info in infos),
            sum(info.canonical_bytes for info in infos),
        )

    def _verify_labels(self, findings: list[str]) -> None:
        builder = hashlib.sha256()
        try:
            for block in range(self.manifest.blocks_per_view):
                labels = self.labels(block)
                builder.update(labels.astype("<u4").tobytes())
                demand(
                    pack_labels(labels, self.manifest.encoding) == self._packed_labels(block),
                    f"{self.path}: the labels of block {block} are not stored canonically",
                )
        except LogitCacheError as error:
            findings.append(str(error))
            return
        if builder.hexdigest() != self.manifest.labels_digest:
            findings.append("the labels do not have the digest that the manifest names")

    def _find_foreign_keys(self, findings: list[str]) -> None:
        for name in TABLES:
            knows = self._knows_meta if name == "meta" else self._knows_block
            foreign = sum(not knows(key) for key in self._store.keys(name))
            if foreign:
                findings.append(f"table {name!r} holds {foreign} foreign keys")

    def _knows_block(self, key: bytes) -> bool:
        return len(key) == _KEY.size and self.manifest.contains(*_KEY.unpack(key))

    def _knows_meta(self, key: bytes) -> bool:
        if key in (b"manifest", b"calibration", b"seal") or is_class_sum(key):
            return True
        if key in (b"shard", b"awaited"):
            return not self.sealed
        if len(key) != len(_LABELS) + 4 or not key.startswith(_LABELS):
            return False
        return struct.unpack(">I", key[-4:])[0] < self.manifest.blocks_per_view

    def _verify_block(self, view: int, block: int, labels: np.ndarray) -> BlockInfo | None:
        """Checks a block and counts its labels; None when an unfinished cache lacks it."""
        what = self._name(view, block)
        info = self.info(view, block)
        stored_bytes = self._get("blocks", _KEY.pack(view, block), len)
        demand(
            (info is None) == (stored_bytes is None),
            f"{what} is in only one of the tables 'blocks' and 'index'",
        )
        if info is None:
            demand(not self.sealed, f"{what} is missing from the sealed cache")
            return None
        content = self._canonical_bytes(view, block)
        decoded = self._codec.decode(content, view, block, self.labels(block), what)
        for condition, fault in [
            (decoded.columns.rows == info.rows, "its index entry has another number of records"),
            (stored_bytes == info.stored_bytes, "its index entry has another stored length"),
            (len(content) == info.canonical_bytes, "its index entry has another length"),
            (decoded.view_digest == info.view_digest, "its index entry has another view digest"),
            (digest(content) == info.digest, "its content has another digest"),
            (
                sum(size for size, _ in info.planes.values()) == info.canonical_bytes,
                "its planes do not add up",
            ),
            (
                self._codec.encode(decoded, view, block) == content,
                "it is not stored canonically",
            ),
        ]:
            demand(condition, f"{what} is damaged: {fault}")
        labels += np.bincount(decoded.columns.labels, minlength=len(labels))
        return info

    def _verify_class_sums(self, labels, builder, findings: list[str]) -> None:
        """Class sums count the same records as the blocks' labels, and end the cache digest."""
        try:
            sums = self._class_sums()
            awaited = list(self._awaited_blocks())
        except LogitCacheError as error:
            findings.append(str(error))
            return
        if self.manifest.encoding.feature_width is None:
            return
        builder.update(sums.digest)
        for block in awaited:
            labels += np.bincount(self.labels(block), minlength=len(labels))
        for label in np.flatnonzero(sums.records != labels):
            findings.append(
                f"the feature sums of class {label} hold {sums.records[label]} records, the "
                f"blocks {labels[label]}"
            )
