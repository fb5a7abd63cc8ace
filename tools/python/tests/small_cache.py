"""Writes small caches, so that readers can be tested on bytes of every kind."""

import hashlib
import json
import os
import struct
import zlib
from dataclasses import dataclass, field

import lmdb
import numpy as np
import zstandard

from logitcache import LogitCacheError, blocks
from logitcache.calibration import Calibration
from logitcache.canonical import canonical_json
from logitcache.forms import pack_bits
from logitcache.manifest import Manifest, class_width, parse_manifest
from logitcache.places import of_labels, pack_labels
from logitcache.records import Columns
from logitcache.seal import chunk_size


def sealed_value(payload: bytes) -> bytes:
    """A value with its CRC-32 in front."""
    return struct.pack("<I", zlib.crc32(payload)) + payload


def variable(value: int) -> bytes:
    """LEB128."""
    out = bytearray()
    while True:
        value, byte = value >> 7, value & 127
        out.append(byte | (128 if value else 0))
        if not value:
            return bytes(out)


def manifest_document(
    classes=7, k=3, samples=10, views=2, block_rows=4, feature_width=None, recipe=None, **more
) -> dict:
    """A manifest; `more` replaces or adds members of `encoding`."""
    encoding = dict(
        classes=classes,
        k=k,
        stepsPerNat=32,
        largestStepsPerNat=128,
        tailStepsPerNat=64,
        temperatures=[1, "3/2", 4],
        blockRows=block_rows,
        codec=1,
        zstdLevel=1,
    )
    if feature_width is not None:
        encoding["featureWidth"] = feature_width
    return dict(
        formatVersion=1,
        seed=7,
        views=views,
        teacher={"weights": "tiny"},
        dataSet=dict(
            name="toys",
            fingerprint="ab" * 32,
            samples=samples,
            classNames=[f"class {i}" for i in range(classes)],
        ),
        recipe=recipe or dict(digest="cd" * 32, content=dict(version=1, operations=[])),
        encoding=encoding | more,
    )


def complete(document: dict, labels: np.ndarray, calibration: bytes) -> dict:
    """A manifest with the digests of labels and calibration."""
    digest = hashlib.sha256(labels.astype("<u4").tobytes()).hexdigest()
    return document | {
        "dataSet": document["dataSet"] | {"labels": digest},
        "calibration": hashlib.sha256(calibration).hexdigest(),
    }


def random_calibration(document: dict, key: int, generator: np.random.Generator) -> bytes:
    """A calibration with lists of any length, for some of the classes."""
    encoding = document["encoding"]
    classes = encoding["classes"]
    temperatures = len(encoding["temperatures"]) if encoding["k"] < classes else 0

    def some(count):
        return generator.permutation(classes)[:count]

    beginning = some(generator.integers(0, min(classes, 50) + 1))
    length, count = (int(generator.integers(1, min(classes, 30) + 1)) for _ in range(2))
    if key == 0:
        length = count = 0
    ids = np.concatenate([beginning, np.sort(some(count)), *(some(length) for _ in range(count))])
    coefficients = generator.integers(-6000, 6000, sum(3 + i for i in range(temperatures)))
    head = struct.pack("<4sHBBIII", b"LGCC", 1, key, temperatures, len(beginning), length, count)
    packed = pack_bits(ids.astype(np.int64), class_width(classes))
    axes = random_axes(encoding, generator) if "subspaceTail" in encoding else b""
    return head + packed + coefficients.astype("<i4").tobytes() + axes


def random_axes(encoding: dict, generator: np.random.Generator) -> bytes:
    """Some axes of random numbers."""
    tail, classes = encoding["subspaceTail"], encoding["classes"]
    count, width = int(generator.integers(0, tail["maximumAxes"] + 1)), tail["axisBytes"]
    largest = 2 ** (8 * width - 1) - 1
    codes = generator.integers(-largest, largest + 1, count * classes)
    trellis_axes = int(generator.integers(0, count + 1))
    return (
        struct.pack("<4sIIHH", b"LGAS", classes, count, width, trellis_axes)
        + generator.standard_normal(classes).astype("<f4").tobytes()
        + (generator.uniform(0.1, 1, count) / largest).astype("<f4").tobytes()
        + codes.astype(f"<i{width}").tobytes()
    )


def random_places(encoding, labels: np.ndarray, generator: np.random.Generator):
    """Records of each sample and their positions, and the label of each record."""
    if encoding.positions is None:
        return None, None, labels
    if encoding.labels_positions:
        return *of_labels(labels), labels[labels >= 0]
    shape = len(labels), encoding.positions.maximum
    counts, positions = of_labels((generator.random(shape) < generator.random((shape[0], 1))) - 1)
    return counts, positions, np.repeat(labels, counts)


def random_columns(
    manifest: Manifest, axes: int | None, labels: np.ndarray, generator: np.random.Generator
) -> Columns:
    """Records as a teacher could have given them, some with far values, some wrong."""
    encoding = manifest.encoding
    counts, positions, labels = random_places(encoding, labels, generator)
    classes, k, rows = encoding.classes, encoding.k, len(labels)
    every = np.arange(rows)
    spread = generator.choice([20, 900], (rows, 1))
    logits = np.rint(generator.standard_normal((rows, classes)) * spread).astype(np.int64)
    logits[every, labels] += generator.choice([0, 4000], rows)
    order = np.argsort(-logits, axis=1, kind="stable")
    levels = logits.max(axis=1, keepdims=True) - np.take_along_axis(logits, order, 1)
    ranks = np.argmax(order == labels[:, None], axis=1)
    tails = generator.integers(-3000, 3000, (rows, len(encoding.tail_temperatures)))
    norms = None
    if encoding.feature_width is not None:
        norms = np.where(generator.random(rows) < 0.1, 0, generator.integers(16384, 49153, rows))

    def integers(*shape):
        return np.rint(generator.standard_normal(shape) * 30).astype(np.int32)

    return Columns(
        ids=order[:, :k].astype(np.int32),
        levels=levels[:, :k].astype(np.int32),
        largest=generator.integers(-5000, 5000, rows).astype(np.int32),
        labels=labels.astype(np.int32),
        label_ranks=ranks.astype(np.int32),
        label_levels=levels[every, ranks].astype(np.int32),
        tails=tails.astype(np.int32),
        feature_norms=None if norms is None else norms.astype(np.int32),
        ranking=None if encoding.ranking is None else order[:, k:].astype(np.int32),
        coefficients=None if axes is None else integers(rows, axes),
        offsets=None if axes is None else integers(rows),
        counts=None if counts is None else counts.astype(np.int32),
        positions=None if positions is None else positions.astype(np.int32),
    )


@dataclass
class SmallCache:
    """A cache to be written; its parts can be changed before `write`.

    `key` is the calibration's: 0 none, 1 label, 2 first class.
    """

    document: dict
    seed: int = 1
    key: int = 1
    labels: np.ndarray | None = None
    view_digest: object = lambda view, samples: "ef" * 32
    columns: dict = field(default_factory=dict)
    contents: dict = field(default_factory=dict)

    def __post_init__(self):
        generator = np.random.default_rng(self.seed)
        if self.labels is None:
            encoding, samples = self.document["encoding"], self.document["dataSet"]["samples"]
            classes, positions = encoding["classes"], encoding.get("positions", {})
            self.labels = generator.integers(0, classes, samples)
            if positions.get("labels") == "position":
                shape = samples, positions.get("maximum", 1)
                self.labels = np.maximum(generator.integers(-classes, classes, shape), -1)
        self.calibration = random_calibration(self.document, self.key, generator)
        self.document = complete(self.document, self.labels, self.calibration)
        self.manifest = parse_manifest(canonical_json(self.document), "small")
        calibration = Calibration(self.calibration, self.manifest.encoding, "small")
        self.codec = blocks.Codec(self.manifest, calibration)
        axes = None if calibration.axes is None else len(calibration.axes)
        for view in range(self.manifest.views):
            for block in range(self.manifest.blocks_per_view):
                columns = random_columns(self.manifest, axes, self.block_labels(block), generator)
                self.put((view, block), columns)

    def block_labels(self, block: int) -> np.ndarray:
        samples = self.manifest.block_samples(block)
        return self.labels[samples.start : samples.stop].astype(np.int64)

    def put(self, key: tuple[int, int], columns: Columns) -> None:
        """Sets the records of a block."""
        view_digest = self.view_digest(key[0], self.manifest.block_samples(key[1]))
        self.columns[key] = columns
        self.contents[key] = self.codec.encode(blocks.Block(view_digest, columns), *key)

    def decode(self, key: tuple[int, int], content: bytes) -> blocks.Block:
        """Decodes other bytes as a block of this cache."""
        return self.codec.decode(bytes(content), *key, self.block_labels(key[1]), "it")

    def stored(self, key) -> bytes:
        """The payload of a block's value."""
        content = self.contents[key]
        return struct.pack("<I", len(content)) + zstandard.compress(content, 1)

    def entry(self, key, stored_bytes: int) -> bytes:
        """The payload of a block's index entry, with errors of 0 for every record."""
        content = self.contents[key]
        rows = self.columns[key].rows
        statistic = struct.pack("<dd", 0, 0) + variable(0) + variable(1) + variable(rows)
        if rows == 0:
            statistic = struct.pack("<dd", 0, 0) + variable(0) + variable(0)
        certificate = variable(rows) * 2 + statistic * (
            1 + 4 * len(self.manifest.encoding.temperatures)
        )
        planes = b"\1\0" + variable(len(content)) + variable(stored_bytes)
        return (
            struct.pack("<III", rows, len(content), stored_bytes)
            + hashlib.sha256(content).digest()
            + content[40:72]
            + planes
            + certificate
        )

    def class_sums(self) -> dict[bytes, bytes]:
        width = self.manifest.encoding.feature_width
        if width is None:
            return {}
        labels = np.concatenate([columns.labels for columns in self.columns.values()])
        return {
            b"classSums" + struct.pack(">I", label): struct.pack(
                f"<Q{width}q",
                np.sum(labels == label),
                *[(-1) ** i * int(label) << i for i in range(width)],
            )
            for label in np.unique(labels).tolist()
        }

    def cache_digest(self) -> str:
        builder = hashlib.sha256(
            b"logitcache 1\n"
            + bytes.fromhex(self.manifest.fingerprint)
            + struct.pack("<Q", len(self.contents))
        )
        for key, content in sorted(self.contents.items()):
            builder.update(struct.pack("<III", *key, self.columns[key].rows))
            builder.update(hashlib.sha256(content).digest())
        if self.manifest.encoding.feature_width is not None:
            inner = hashlib.sha256()
            for key, value in sorted(self.class_sums().items()):
                inner.update(struct.pack("<I", int.from_bytes(key[9:], "big")) + value)
            builder.update(inner.digest())
        return builder.hexdigest()

    def write(self, folder, seal: bool = True, missing=(), change=None) -> str:
        """Writes the cache; `change(tables)` may edit the payloads. Returns the folder."""
        folder = os.fspath(folder)
        os.makedirs(folder, exist_ok=True)
        digest = self.cache_digest()
        tables = {
            "blocks": {},
            "index": {},
            "meta": {
                b"manifest": canonical_json(self.document),
                b"calibration": self.calibration,
                **self.class_sums(),
            },
        }
        for block in range(self.manifest.blocks_per_view):
            packed = pack_labels(self.block_labels(block), self.manifest.encoding)
            tables["meta"][b"labels" + struct.pack(">I", block)] = packed
        for key in self.contents:
            if key not in missing:
                name, stored = struct.pack(">II", *key), self.stored(key)
                tables["blocks"][name] = stored
                tables["index"][name] = self.entry(key, len(stored) + 4)
        if seal:
            tables["meta"][b"seal"] = bytes.fromhex(digest)
        if change:
            change(tables)
        with lmdb.open(folder, map_size=1 << 24, max_dbs=3) as environment:
            for name, entries in tables.items():
                table = environment.open_db(name.encode())
                with environment.begin(write=True, db=table) as transaction:
                    for key, payload in sorted(entries.items()):
                        transaction.put(key, sealed_value(payload))
        os.remove(os.path.join(folder, "lock.mdb"))
        if seal:
            write_seal(folder, digest, self.manifest.fingerprint)
        return folder


def write_seal(folder: str, digest: str, fingerprint: str) -> None:
    """Describes data.mdb as it is."""
    with open(os.path.join(folder, "data.mdb"), "rb") as file:
        data = file.read()
    size = chunk_size(len(data))
    chunks = [hashlib.sha256(data[i : i + size]).hexdigest() for i in range(0, len(data), size)]
    seal = dict(
        formatVersion=1,
        cacheDigest=digest,
        fingerprint=fingerprint,
        dataBytes=len(data),
        chunkBytes=size,
        chunks=chunks,
    )
    with open(os.path.join(folder, "seal.json"), "wb") as file:
        file.write(canonical_json(seal) + b"\n")


def edit_json(path: str, change) -> None:
    """Rewrites a file of canonical JSON."""
    with open(path) as file:
        document = json.load(file)
    change(document)
    with open(path, "wb") as file:
        file.write(canonical_json(document) + b"\n")


def assert_every_flip_is_noticed(small: SmallCache) -> None:
    """Flips every bit of a block behind its header: it is refused, or says something else."""
    content, right = small.contents[0, 0], small.columns[0, 0]
    for place in range(8 * 72, 8 * len(content)):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        try:
            found = small.decode((0, 0), damaged)
        except LogitCacheError:
            continue
        if small.codec.encode(found, 0, 0) == damaged:
            pairs = zip(vars(found.columns).values(), vars(right).values(), strict=True)
            assert not all(np.array_equal(a, b) for a, b in pairs), place
