"""Files of arrays: rows that the program imports, records that it exports, read with numpy."""

import json
import os
import struct
import subprocess

import numpy as np
import pytest

import logitcache

PROGRAM = os.environ.get("LOGITCACHE_PROGRAM")
pytestmark = pytest.mark.skipif(not PROGRAM, reason="LOGITCACHE_PROGRAM does not name the program")


def run(*arguments) -> str:
    done = subprocess.run(
        [PROGRAM, *map(str, arguments)], check=True, capture_output=True, text=True
    )
    return done.stdout


def read_safetensors(path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file, from the format's description."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    types = {"I32": "<i4", "I64": "<i8", "F32": "<f4", "F64": "<f8"}
    arrays = {}
    for name, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        values = np.frombuffer(data[start:end], types[entry["dtype"]])
        arrays[name] = values.reshape(entry["shape"])
    return arrays


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """3,000 samples, two views, twelve classes, as numpy writes them, and a cache of all logits."""
    folder = tmp_path_factory.mktemp("rows")
    generator = np.random.default_rng(5)
    rows = (generator.standard_normal((3000, 2, 12)) * 4).astype(np.float32)
    labels = generator.integers(0, 12, 3000)
    np.save(folder / "rows.npy", rows)
    np.save(folder / "labels.npy", labels)
    run("import", folder / "all", "--logits", folder / "rows.npy", *of_labels(folder))
    return folder, rows, labels


def of_labels(folder) -> tuple:
    return "--labels", folder / "labels.npy"


def test_an_imported_cache_decodes_to_the_rows(rows):
    folder, rows, labels = rows
    with logitcache.open(folder / "all") as cache:
        assert cache.verify().digest
        assert cache.manifest.recipe is None and cache.manifest.seed == 0
        assert cache.info(1, 1).view_digest == "00" * 32
        for view in range(2):
            records = cache.records(range(3000), view)
            assert np.array_equal(records.labels, labels)
            found = np.empty((3000, 12), np.float32)
            np.put_along_axis(found, records.class_ids.astype(np.int64), records.logits(), 1)
            assert np.abs(found - rows[:, view]).max() <= 1 / 32 + 1e-5


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_other_types_of_numpy_are_read(rows, tmp_path, kind):
    folder, rows, _ = rows
    np.save(tmp_path / "rows.npy", rows.astype(kind))
    run("import", tmp_path / "cache", "--logits", tmp_path / "rows.npy", *of_labels(folder))
    with logitcache.open(tmp_path / "cache") as cache:
        found = cache.records(range(3000), 1)
    best = np.take_along_axis(rows[:, 1], found.class_ids.astype(np.int64), 1)
    assert np.abs(best - found.logits()).max() <= 1 / 32 + (0.02 if kind is np.float16 else 1e-5)


def test_exported_rows_are_what_the_reader_decodes(rows, tmp_path):
    folder, _, labels = rows
    run("export", folder / "all", "--out", tmp_path / "rows.npy")
    run("export", folder / "all", "--out", tmp_path / "rows.safetensors", "--full-rows")
    exported = np.load(tmp_path / "rows.npy")
    arrays = read_safetensors(tmp_path / "rows.safetensors")
    assert exported.dtype == np.float32 and exported.shape == (3000, 2, 12)
    assert np.array_equal(arrays["logits"], exported)
    assert np.array_equal(arrays["labels"], labels)
    with logitcache.open(folder / "all") as cache:
        for view in range(2):
            records = cache.records(range(3000), view)
            ids = records.class_ids.astype(np.int64)
            assert np.array_equal(np.take_along_axis(exported[:, view], ids, 1), records.logits())


def test_exported_records_are_what_the_reader_decodes(rows, tmp_path):
    folder, rows, labels = rows
    cache_path, file = tmp_path / "cache", tmp_path / "records.safetensors"
    run("import", cache_path, "--logits", folder / "rows.npy", *of_labels(folder), "--k", 4)
    run("export", cache_path, "--out", file, "--samples", "7:2500")
    arrays = read_safetensors(file)
    assert np.array_equal(arrays["samples"], np.arange(7, 2500))
    assert arrays["views"].tolist() == [0, 1]
    assert np.array_equal(arrays["labels"], labels[7:2500])
    with logitcache.open(cache_path) as cache:
        for view in range(2):
            records = cache.records(range(7, 2500), view)
            for name, values in {
                "ids": records.class_ids,
                "logits": records.logits(),
                "label-logits": records.largest_logits - records.label_gaps,
                "label-ranks": records.label_ranks,
                "log-tail-ratios": records.log_tail_ratios,
            }.items():
                assert np.array_equal(arrays[name][:, view], values), name
    exact = np.log(np.exp(rows[7:2500].astype(np.float64)).sum(-1))
    assert np.abs(arrays["log-sum-exp"] - exact).max() < 0.05


def test_sparse_rows_of_numpy_are_imported(rows, tmp_path):
    folder, rows, labels = rows
    order = np.argsort(-rows, axis=-1, kind="stable")
    best = np.take_along_axis(rows, order[..., :4], -1)
    ranks = np.argmax(order == labels[:, None, None], axis=-1)
    own = np.take_along_axis(rows, labels[:, None, None], -1)[..., 0]
    np.save(tmp_path / "ids.npy", order[..., :4])
    np.save(tmp_path / "values.npy", best)
    np.save(tmp_path / "lse.npy", np.log(np.exp(rows).sum(-1)))
    np.save(tmp_path / "ranks.npy", ranks)
    np.save(tmp_path / "own.npy", own)
    run(
        *("import", tmp_path / "sparse", *of_labels(folder), "--classes", 12),
        *("--ids", tmp_path / "ids.npy", "--values", tmp_path / "values.npy"),
        *("--log-sum-exp", tmp_path / "lse.npy", "--label-logits", tmp_path / "own.npy"),
        *("--label-ranks", tmp_path / "ranks.npy"),
    )
    run(
        *("import", tmp_path / "full", "--logits", folder / "rows.npy", *of_labels(folder)),
        *("--k", 4),
    )
    with logitcache.open(tmp_path / "sparse") as sparse, logitcache.open(tmp_path / "full") as full:
        assert sparse.verify().digest
        one, two = sparse.records(range(3000), 1), full.records(range(3000), 1)
        for name in ["class_ids", "gaps", "labels", "label_gaps", "label_ranks"]:
            assert np.array_equal(getattr(one, name), getattr(two, name)), name
        ratios = one.log_tail_ratios[:, 0] - two.log_tail_ratios[:, 0]
        assert np.abs(ratios[two.log_tail_ratios[:, 0] > -5]).max() <= 1 / 64
        bound, exact = sparse.certificate(), full.certificate()
        for name in ["total_variation", "kd_gradient_error", "dist_angle"]:
            mine, measured = (c.at_temperature[1][name].mean for c in (bound, exact))
            assert measured <= mine < 1, name


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    """Rows [n, T, C] and how many of the T count, as numpy writes them."""
    folder = tmp_path_factory.mktemp("tokens")
    generator = np.random.default_rng(6)
    rows = (generator.standard_normal((500, 5, 7)) * 4).astype(np.float32)
    lengths = generator.integers(0, 6, 500)
    np.save(folder / "rows.npy", rows)
    np.save(folder / "lengths.npy", lengths)
    np.save(folder / "labels.npy", generator.integers(0, 7, 500))
    return folder, rows, lengths


def import_tokens(folder, cache, *options):
    run("import", cache, "--logits", folder / "rows.npy", *of_labels(folder), *options)
    return logitcache.open(cache)


def test_rows_at_positions_decode_to_themselves(tokens, tmp_path):
    folder, rows, lengths = tokens
    with import_tokens(folder, tmp_path / "cache", "--counts", folder / "lengths.npy") as cache:
        assert cache.verify().records == lengths.sum()
        assert cache.manifest.encoding.positions.maximum == 5
        records = cache.records(range(500), 0)
        assert np.array_equal(np.bincount(records.owners, minlength=500), lengths)
        expected = rows[records.owners, records.positions]
        found = np.empty_like(expected)
        np.put_along_axis(found, records.class_ids.astype(np.int64), records.logits(), 1)
        assert np.abs(found - expected).max() <= 1 / 32 + 1e-5
        assert records.positions.max() == 4
    run("export", tmp_path / "cache", "--out", tmp_path / "out.safetensors")
    arrays = read_safetensors(tmp_path / "out.safetensors")
    assert np.array_equal(arrays["counts"][:, 0], lengths)
    assert np.array_equal(arrays["record-samples"], records.owners)
    assert np.array_equal(arrays["record-positions"], records.positions)
    assert not arrays["record-views"].any()
    assert np.array_equal(arrays["ids"], records.class_ids)
    assert np.array_equal(arrays["logits"], records.logits())


def test_rows_at_every_position_are_an_array_of_them(tokens, tmp_path):
    folder, rows, _ = tokens
    with import_tokens(folder, tmp_path / "cache", "--positions", "every") as cache:
        assert cache.verify().records == 2500
    run("export", tmp_path / "cache", "--out", tmp_path / "out.npy")
    assert np.abs(np.load(tmp_path / "out.npy").reshape(rows.shape) - rows).max() <= 1 / 32 + 1e-5


def test_records_without_a_data_set_are_replayed_alone(rows):
    pytest.importorskip("torch")
    from logitcache.torch import ReplayDataset

    folder, rows, labels = rows
    data = ReplayDataset(folder / "all", None)
    batch = data.__getitems__([5, 3005])
    assert batch.elements.shape == (2, 0) and batch.labels.tolist() == [labels[5]] * 2
    assert batch.teacher.class_ids[:, 0].tolist() == rows[5].argmax(-1).tolist()
