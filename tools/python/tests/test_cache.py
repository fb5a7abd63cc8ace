"""Reading, refusing and verifying caches."""

import fcntl
import json
import os
import random
import struct
import subprocess
import sys

import lmdb
import numpy as np
import pytest
import zstandard
from small_cache import SmallCache, edit_json, manifest_document, write_seal

import logitcache
from logitcache import LogitCacheError, blocks
from logitcache.canonical import canonical_json
from logitcache.forms import pack_bits


@pytest.fixture
def small():
    return SmallCache(manifest_document())


def refusal(path) -> str:
    """What `open` and `verify` say of a cache that is not sound."""
    with pytest.raises(LogitCacheError) as caught:
        with logitcache.open(path) as cache:
            cache.verify()
    return str(caught.value)


@pytest.mark.parametrize(
    "classes, k", [(1, 1), (2, 1), (7, 3), (7, 7), (256, 5), (257, 5), (70000, 2)]
)
@pytest.mark.parametrize("key, feature_width", [(0, None), (1, 3), (2, None)])
def test_records_come_back(tmp_path, classes, k, key, feature_width):
    document = manifest_document(classes, k, feature_width=feature_width)
    small = SmallCache(document, seed=classes, key=key)
    with logitcache.open(small.write(tmp_path)) as cache:
        report = cache.verify()
        assert (report.blocks, report.missing_blocks, report.records) == (6, 0, 20)
        assert cache.sealed and cache.digest == report.digest == small.cache_digest()
        for key, columns in small.columns.items():
            found = cache.block(*key).columns
            for name, wanted in vars(columns).items():
                assert np.array_equal(getattr(found, name), wanted), name


def test_any_records_can_be_asked_for(tmp_path, small):
    samples, views = [9, 0, 3, 9, 4], [1, 0, 1, 0, 1]
    with logitcache.open(small.write(tmp_path), cached_blocks=2) as cache:
        found = cache.records(samples, views)
        encoding = cache.manifest.encoding
        assert found.k == 3 and len(found) == 5 and found.tail_temperatures == (1, 1.5, 4)
        for row, (sample, view) in enumerate(zip(samples, views)):
            block, place = divmod(sample, encoding.block_rows)
            wanted = small.columns[view, block].values(encoding, cache.axes)
            for name, values in found.arrays().items():
                assert np.array_equal(values[row], wanted.arrays()[name][place]), name
        with pytest.raises(LogitCacheError, match="has no sample"):
            cache.records([10], 0)
        with pytest.raises(LogitCacheError, match="block 0 of view 2 does not exist"):
            cache.records([0], 2)


def test_one_process_may_open_a_cache_twice(tmp_path, small):
    path = small.write(tmp_path)
    with logitcache.open(path) as first, logitcache.open(path) as second:
        assert np.array_equal(first.records([1], 0).gaps, second.records([1], 0).gaps)
        first.close()
        assert second.verify().blocks == 6
    with pytest.raises(LogitCacheError, match="is closed"):
        first.records([9], 1)


def test_class_means_are_the_sums_over_the_counts(tmp_path):
    small = SmallCache(manifest_document(feature_width=2))
    with logitcache.open(small.write(tmp_path)) as cache:
        labels = np.concatenate([c.labels for c in small.columns.values()])
        counts = np.bincount(labels, minlength=7)
        wanted = np.where(counts > 0, np.arange(7) / 65536 / np.maximum(counts, 1), 0)
        assert np.allclose(cache.class_means()[:, 0], wanted)
        assert np.allclose(cache.class_means()[:, 1], -2 * wanted)


def test_an_unfinished_cache_can_be_read(tmp_path, small):
    path = small.write(tmp_path, seal=False, missing=[(1, 2)])
    with logitcache.open(path) as cache:
        assert not cache.sealed and cache.verify().missing_blocks == 1
        assert len(cache.stored_blocks()) == 5
        with pytest.raises(LogitCacheError, match="block 2 of view 1 is not stored"):
            cache.block(1, 2)


def test_a_reader_keeps_writers_away_or_reads_beside_one(tmp_path, small):
    path = small.write(tmp_path, seal=False)
    folder = os.open(path, os.O_RDONLY)
    with logitcache.open(path):
        with pytest.raises(BlockingIOError):
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    writer = lmdb.open(path, map_size=1 << 24, max_dbs=3)
    try:
        program = "import logitcache, sys; print(logitcache.open(sys.argv[1]).verify().blocks)"
        found = subprocess.run(
            [sys.executable, "-c", program, path],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(logitcache.__file__))},
        )
        assert found.stdout == "6\n", found.stderr
    finally:
        writer.close()
        os.close(folder)


def test_what_is_no_cache_is_refused(tmp_path):
    assert "there is no cache in" in refusal(tmp_path)
    (tmp_path / "data.mdb").write_bytes(b"")
    assert "there is no cache in" in refusal(tmp_path)
    (tmp_path / "data.mdb").write_bytes(b"something else" * 1000)
    assert "is not one of LMDB's" in refusal(tmp_path)


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda d: d.update(formatVersion=2), "format version 2 is not known"),
        (lambda d: d.update(extra=1), "unknown members extra"),
        (lambda d: d.pop("seed"), "lacks seed"),
        (lambda d: d.update(seed=True), "seed is not of the right type"),
        (lambda d: d.update(seed=-1), "is not below 2^63"),
        (lambda d: d.update(views=0), "0 views"),
        (lambda d: d.update(calibration="12"), "calibration is not a digest"),
        (lambda d: d.update(derivedFrom={}), "derivedFrom lacks cacheDigest, fingerprint"),
        (
            lambda d: d.update(derivedFrom=dict(cacheDigest="ab" * 32, fingerprint="1")),
            "derivedFrom.fingerprint is not a digest",
        ),
        (lambda d: (d.update(views=2**24), d["dataSet"].update(samples=2**30)), "too many records"),
        (lambda d: d["dataSet"].update(samples=2**41), "cannot be cached"),
        (lambda d: d["dataSet"]["classNames"].pop(), "6 class names for 7 classes"),
        (lambda d: d["encoding"].update(k=8), "encoding.k is 8, it must be in 1...7"),
        (lambda d: d["encoding"].update(codec=99), "encoding.codec is 99"),
        (lambda d: d["encoding"].update(temperatures=["2/4"]), "is not a temperature"),
        (lambda d: d["encoding"].update(temperatures=["2"]), "is not a temperature"),
        (lambda d: d["encoding"].update(temperatures=[2, 1]), "not ascending"),
        (lambda d: d["encoding"].update(temperatures=["1/5"]), "below 1/4"),
        (lambda d: d["encoding"].update(largestStepsPerNat=16), "it must be in 32...256"),
    ],
)
def test_a_manifest_that_is_out_of_range_is_refused(tmp_path, small, change, reason):
    document = json.loads(canonical_json(small.document))
    change(document)

    def replace(tables):
        tables["meta"][b"manifest"] = canonical_json(document)

    assert reason in refusal(small.write(tmp_path, change=replace))


@pytest.mark.parametrize(
    "text, reason",
    [
        (b"{", "damaged"),
        (b'{"a": 1}', "not canonical"),
        (b'{"b":1,"a":1}', "not canonical"),
        (b'{"a":1,"a":1}', "not canonical"),
        (b'{"a":1.0}', "not an integer"),
        (b"\xff", "damaged"),
        (b"[" * 100000, "damaged"),
        (b"9", "format version None"),
    ],
)
def test_a_manifest_that_is_not_canonical_is_refused(tmp_path, small, text, reason):
    def replace(tables):
        tables["meta"][b"manifest"] = text

    assert reason in refusal(small.write(tmp_path, change=replace))


KEY = struct.pack(">II", 0, 1)


def replace_key(table: dict, key: bytes) -> None:
    """Stores block 1 of view 0 under another key."""
    table[key] = table.pop(KEY)


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda t: t["meta"].pop(b"manifest"), "holds no manifest"),
        (lambda t: t["meta"].pop(b"calibration"), "the calibration is missing"),
        (lambda t: t["meta"].update({b"calibration": b"x"}), "calibration is not the manifest's"),
        (lambda t: t["meta"].pop(b"seal"), "belongs to another data.mdb"),
        (lambda t: t["meta"].update({b"seal": b"1" * 32}), "belongs to another data.mdb"),
        (
            lambda t: t["meta"].update({b"classSums\0\0\0\1": b"1"}),
            "feature sums that its manifest",
        ),
        (lambda t: t["blocks"].pop(KEY), "sealed with 5 entries in table 'blocks'"),
        (lambda t: t["index"].pop(KEY), "sealed with 5 entries in table 'index'"),
        (lambda t: t["blocks"].update({b"1": b"1"}), "7 entries in table 'blocks', its manifest"),
        (lambda t: replace_key(t["blocks"], b"12345678"), "table 'blocks' holds 1 foreign keys"),
        (lambda t: replace_key(t["blocks"], b"1"), "table 'blocks' holds 1 foreign keys"),
        (
            lambda t: (replace_key(t["blocks"], b"1"), replace_key(t["index"], b"1")),
            "is missing from the sealed cache",
        ),
        (lambda t: replace_key(t["index"], b"1"), "only one of the tables"),
        (lambda t: t["meta"].update({b"hint": b"1"}), "table 'meta' holds 1 foreign keys"),
        (
            lambda t: t["meta"].update({b"labels\0\0\0\x09": b"1", b"labels\0\0\0\0\0": b"1"}),
            "table 'meta' holds 2 foreign keys",
        ),
        (lambda t: t["meta"].update({b"shard": b"1"}), "table 'meta' holds 1 foreign keys"),
        (lambda t: t["index"].update({KEY: t["index"][KEY] + b"1"}), "1 bytes follow its end"),
        (lambda t: t["index"].update({KEY: t["index"][KEY][:-1]}), "it ends too early"),
        (lambda t: t["index"].update({KEY: t["index"][struct.pack(">II", 1, 1)]}), "has another"),
        (lambda t: t["blocks"].update({KEY: t["blocks"][struct.pack(">II", 1, 1)]}), "its header"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, small, change, reason):
    assert reason in refusal(small.write(tmp_path, change=change))


@pytest.mark.parametrize(
    "payload, reason",
    [
        (lambda c: b"", "its length is missing"),
        (lambda c: struct.pack("<I", 2**31) + zstandard.compress(c), "it claims 2147483648 bytes"),
        (lambda c: struct.pack("<I", len(c)) + zstandard.compress(c + b"1"), "its frame claims"),
        (lambda c: struct.pack("<I", len(c)) + zstandard.compress(c) + b"1", "damaged"),
        (lambda c: struct.pack("<I", len(c)) + zstandard.compress(c)[:-1], "damaged"),
        (lambda c: struct.pack("<I", len(c)) + c, "damaged"),
        (
            lambda c: (
                struct.pack("<I", len(c))
                + zstandard.ZstdCompressor(write_content_size=False).compress(c)
            ),
            "damaged",
        ),
        (lambda c: struct.pack("<I", 8) + b"\x50\x2a\x4d\x18\x08\0\0\0" + b"12345678", "damaged"),
    ],
)
def test_frames_that_lie_are_refused(tmp_path, small, payload, reason):
    def replace(tables):
        tables["blocks"][KEY] = payload(small.contents[0, 1])

    assert reason in refusal(small.write(tmp_path, change=replace))


def test_feature_sums_must_count_the_labels(tmp_path):
    small = SmallCache(manifest_document(feature_width=1))
    label = int(small.columns[0, 0].labels[0])

    def replace(tables):
        tables["meta"][b"classSums" + struct.pack(">I", label)] = struct.pack("<Qq", 20, 1)

    assert f"the feature sums of class {label} hold 20 records" in refusal(
        small.write(tmp_path, change=replace)
    )


def test_an_interrupted_merge_counts_awaited_blocks(tmp_path):
    small = SmallCache(manifest_document(feature_width=1))

    def await_runs(*runs):
        def change(tables):
            tables["meta"][b"awaited"] = struct.pack(f"<{len(runs)}Q", *runs)

        return change

    missing = [(0, 1), (1, 0)]
    path = small.write(tmp_path / "a", seal=False, missing=missing, change=await_runs(0, 2, 3, 4))
    with logitcache.open(path) as cache:
        assert cache.verify().missing_blocks == 2
    path = small.write(tmp_path / "b", seal=False, missing=missing, change=await_runs(1, 2))
    assert "the feature sums of class" in refusal(path)
    for number, runs in enumerate([(2, 2), (3, 2), (0, 7), (2, 3, 1, 2), (1,)]):
        path = small.write(tmp_path / str(number), False, missing, await_runs(*runs))
        assert "the awaited blocks are damaged" in refusal(path)


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda d: d.update(dataBytes=d["dataBytes"] - 1), "it was sealed with"),
        (lambda d: d.update(chunkBytes=1 << 21), "its chunks do not cover"),
        (lambda d: d.update(chunks=[]), "its chunks do not cover"),
        (lambda d: d.update(fingerprint="00" * 32), "belongs to another data.mdb"),
        (lambda d: d.update(cacheDigest="00" * 32), "belongs to another data.mdb"),
        (lambda d: d.update(cacheDigest="00"), "another version"),
        (lambda d: d.update(formatVersion=2), "another version"),
        (lambda d: d.update(chunks=["00" * 32]), "bytes 0..<"),
    ],
)
def test_a_seal_that_does_not_fit_is_refused(tmp_path, small, change, reason):
    path = small.write(tmp_path)
    edit_json(path + "/seal.json", change)
    assert reason in refusal(path)


def test_a_block_that_is_not_stored_canonically_is_refused(tmp_path, small):
    """All gaps of the first rank in more bits than they need."""
    key, entry = (0, 0), 72 + 8 * len(blocks.groups(3))
    content = small.contents[key]
    plane, group, form, width, length = struct.unpack_from("<BBBBI", content, entry)
    assert plane == 2 and form != 16
    start = 72 + 8 * len(small.codec.entries)
    start += sum(struct.unpack_from("<4xI", content, place)[0] for place in range(72, entry, 8))
    gaps = np.diff(small.columns[key].levels.astype(np.int64), axis=1)[:, 0]
    packed = pack_bits(gaps, 30)
    small.contents[key] = b"".join(
        [
            content[:entry],
            struct.pack("<BBBBI", plane, group, 16, 30, len(packed)),
            content[entry + 8 : start],
            packed,
            content[start + length :],
        ]
    )
    columns = small.decode(key, small.contents[key]).columns
    assert np.array_equal(columns.levels, small.columns[key].levels)
    assert "is not stored canonically" in refusal(small.write(tmp_path))


# Damage


def read_everything(path):
    """Every record of a cache that may be damaged, and its report; None when it is refused."""
    try:
        with logitcache.open(path) as cache:
            cache.verify()
            return [vars(cache.block(*key).columns) for key in cache.stored_blocks()]
    except LogitCacheError:
        return None


@pytest.mark.parametrize("seed", range(3))
def test_a_flipped_bit_anywhere_is_found_or_harmless(tmp_path, small, seed):
    """A sealed file is refused; without its seal LMDB survives, and no record is ever another."""
    path = small.write(tmp_path)
    data = tmp_path / "data.mdb"
    seal = (tmp_path / "seal.json").read_bytes()
    sound = data.read_bytes()
    right = read_everything(path)
    assert right is not None
    chosen = random.Random(seed)
    page_starts = [p * 4096 + chosen.randrange(64) for p in range(len(sound) // 4096)]
    for place in page_starts + [chosen.randrange(len(sound)) for _ in range(60)]:
        damaged = bytearray(sound)
        damaged[place] ^= 1 << chosen.randrange(8)
        data.write_bytes(damaged)
        (tmp_path / "seal.json").write_bytes(seal)
        assert read_everything(path) is None, place
        (tmp_path / "seal.json").unlink()
        found = read_everything(path)
        if found is not None:
            assert len(found) == len(right), place
            for a, b in zip(found, right):
                assert all(np.array_equal(a[name], b[name]) for name in a), place


def test_every_truncation_is_refused(tmp_path, small):
    path = small.write(tmp_path)
    data = tmp_path / "data.mdb"
    sound = data.read_bytes()
    for sealed in (True, False):
        for length in {*range(0, len(sound), 4096), len(sound) - 1, 1, 100, 4095, 4097}:
            data.write_bytes(sound[:length])
            assert read_everything(path) is None, (sealed, length)
        (tmp_path / "seal.json").unlink(missing_ok=True)


def pages_of(data: bytes, flag: int) -> list[int]:
    return [
        p
        for p in range(2, len(data) // 4096)
        if struct.unpack_from("<QHH", data, p * 4096) == (p, 0, flag)
    ]


@pytest.mark.parametrize(
    "flag, offset, layout, value, reason",
    [
        (2, 0, "<Q", 999, "has the header of another page"),
        (2, 10, "<H", 1, "has the header of another page"),
        (2, 12, "<H", 65534, "has free space"),
        (2, 14, "<H", 8192, "has free space"),
        (2, 12, "<H", 16, "has only 0 entries"),
        (2, 16, "<H", 4094, "has a malformed entry"),
    ],
)
def test_a_damaged_page_is_named(tmp_path, small, flag, offset, layout, value, reason):
    path = small.write(tmp_path, seal=False)
    data = bytearray((tmp_path / "data.mdb").read_bytes())
    for page in pages_of(data, flag):
        struct.pack_into(layout, data, page * 4096 + offset, value)
    (tmp_path / "data.mdb").write_bytes(data)
    assert reason in refusal(path)


def test_a_large_value_outside_the_file_is_refused(tmp_path):
    small = SmallCache(manifest_document(classes=300, samples=2000, k=9, block_rows=1000))
    path = small.write(tmp_path, seal=False)
    data = bytearray((tmp_path / "data.mdb").read_bytes())
    large = pages_of(data, 4)
    assert large
    for page in large:
        changed = bytearray(data)
        struct.pack_into("<I", changed, page * 4096 + 12, 2**31)
        (tmp_path / "data.mdb").write_bytes(changed)
        assert "its value needs" in refusal(path)


def test_a_seal_for_changed_bytes_does_not_hide_them(tmp_path, small):
    """Whoever rewrites the seal's chunks is still caught by the tables' own checks."""
    path = small.write(tmp_path)
    data = tmp_path / "data.mdb"
    sound = data.read_bytes()
    place = sound.index(b"LGCB") if b"LGCB" in sound else sound.index(b"\x28\xb5\x2f\xfd") + 9
    damaged = bytearray(sound)
    damaged[place] ^= 1
    data.write_bytes(damaged)
    write_seal(path, small.cache_digest(), small.manifest.fingerprint)
    assert "its checksum is" in refusal(path)
