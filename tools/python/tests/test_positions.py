"""Caches with a record for each of several positions of a view (docs/FORMAT.md, 15)."""

import hashlib

import numpy as np
import pytest
from small_cache import SmallCache, assert_every_flip_is_noticed, manifest_document

import logitcache
from logitcache import LogitCacheError, places


def document(labels="sample", **more):
    positions = dict(maximum=5, labels=labels)
    return manifest_document(positions=positions, **more)


def small(labels="sample", seed=1, **more) -> SmallCache:
    return SmallCache(document(labels, **more), seed=seed)


@pytest.mark.parametrize("labels", ["sample", "position"])
@pytest.mark.parametrize("seed", range(1, 6))
def test_records_come_back_at_their_places(tmp_path, labels, seed):
    cache = small(labels, seed=seed, views=2, samples=11, block_rows=3)
    with logitcache.open(cache.write(tmp_path)) as opened:
        report = opened.verify()
        assert report.records == sum(columns.rows for columns in cache.columns.values())
        assert report.digest == cache.cache_digest()
        for (view, block), columns in cache.columns.items():
            found = opened.block(view, block).columns
            for name, values in vars(columns).items():
                assert np.array_equal(getattr(found, name), values), name
            assert np.array_equal(opened.labels(block), cache.block_labels(block))


@pytest.mark.parametrize("labels", ["sample", "position"])
def test_all_records_of_chosen_samples_are_given_in_their_order(tmp_path, labels):
    cache = small(labels, views=2, samples=11, block_rows=3)
    with logitcache.open(cache.write(tmp_path)) as opened:
        samples, views = np.array([7, 2, 7, 10, 0]), np.array([1, 0, 0, 1, 1])
        records = opened.records(samples, views)
        assert records.samples == 5 and records.maximum_positions == 5
        row = 0
        for index, (sample, view) in enumerate(zip(samples, views)):
            columns = cache.columns[view, sample // 3]
            first = columns.counts[: sample % 3].sum()
            for offset in range(columns.counts[sample % 3]):
                assert records.owners[row] == index
                assert records.positions[row] == columns.positions[first + offset]
                assert np.array_equal(records.class_ids[row], columns.ids[first + offset])
                assert records.labels[row] == columns.labels[first + offset]
                row += 1
        assert row == len(records)


def test_a_cache_without_any_record_is_sound(tmp_path):
    cache = SmallCache(document("position"), labels=np.full((10, 5), -1))
    with logitcache.open(cache.write(tmp_path)) as opened:
        assert opened.verify().records == 0
        assert len(opened.records([0, 9], view=1)) == 0


@pytest.mark.parametrize("seed", range(10))
def test_gaps_and_positions_are_inverse(seed):
    generator = np.random.default_rng(seed)
    labels = generator.integers(-3, 4, (generator.integers(1, 9), generator.integers(2, 9)))
    counts, found = places.of_labels(labels)
    stored = places.gaps(counts, found)
    assert stored.min(initial=0) >= 0
    assert np.array_equal(places.positions(counts, stored), found)


@pytest.mark.parametrize("labels", ["sample", "position"])
def test_every_flip_of_a_block_is_noticed(labels):
    assert_every_flip_is_noticed(small(labels, samples=4, views=1))


def with_rows(content: bytes, rows: int) -> bytes:
    return content[:24] + rows.to_bytes(4, "little") + content[28:]


@pytest.mark.parametrize("labels", ["sample", "position"])
def test_a_header_with_other_records_is_refused(labels):
    cache = small(labels, samples=4, views=1)
    content, rows = cache.contents[0, 0], cache.columns[0, 0].rows
    for wrong in {0, rows - 1, rows + 1, 20, 21, 2**32 - 1} - {rows}:
        with pytest.raises(LogitCacheError, match="damaged"):
            cache.decode((0, 0), with_rows(content, wrong))


@pytest.mark.parametrize(
    "counts, gaps, reason",
    [
        ([6, 0, 0, 0], [0] * 6, "other records|too many records"),
        ([2, 2, 0, 0], [0, 0, 0, 5], "not below 5"),
        ([2, 2, 0, 0], [4, 0, 0, 0], "not below 5"),
        ([2, 1, 0, 0], [0] * 4, "other records"),
    ],
)
def test_places_that_lie_are_refused(counts, gaps, reason):
    cache = small("sample", samples=4, views=1)
    codec = cache.codec
    rows = len(gaps)

    class Plane:
        def __init__(self, values):
            self.values = np.array(values)

        def integers(self, count):
            return self.values

    planes = {(10, 0): Plane(counts), (11, 0): Plane(gaps)}
    with pytest.raises(LogitCacheError, match=reason):
        codec._places(planes, rows, cache.block_labels(0), "it")


@pytest.mark.parametrize(
    "positions, reason",
    [
        (dict(maximum=1, labels="sample"), "maximum is 1"),
        (dict(maximum=4097, labels="sample"), "maximum is 4097"),
        (dict(maximum=5, labels="view"), "labels is 'view'"),
        (dict(maximum=5), "lacks labels"),
        (dict(maximum=5, labels="sample", more=1), "unknown members more"),
    ],
)
def test_positions_that_no_cache_has_are_refused(positions, reason):
    with pytest.raises(LogitCacheError, match=reason):
        SmallCache(manifest_document(positions=positions))


def test_features_and_blocks_too_large_are_refused():
    with pytest.raises(LogitCacheError, match="features stand beside positions"):
        small(feature_width=2)
    with pytest.raises(LogitCacheError, match="do not fit a block"):
        SmallCache(manifest_document(positions=dict(maximum=4096, labels="sample"), blockRows=17))


def test_labels_of_positions_that_are_cut_or_not_canonical_are_refused(tmp_path):
    cache = small("position", samples=4, views=1)
    encoding = cache.manifest.encoding
    packed = places.pack_labels(cache.block_labels(0), encoding)
    read = places.unpack_labels(packed, 4, encoding, "they")
    assert np.array_equal(read, cache.block_labels(0))
    for length in range(len(packed)):
        with pytest.raises(LogitCacheError):
            places.unpack_labels(packed[:length], 4, encoding, "they")
    with pytest.raises(LogitCacheError):
        places.unpack_labels(packed + b"\0", 4, encoding, "they")

    def widen(tables):
        # The counts in form 16 with a width of 32.
        counts = (cache.block_labels(0) >= 0).sum(axis=1).astype("<u4").tobytes()
        own = int.from_bytes(packed[4:8], "little")
        wide = packed[:2] + bytes([16, 32]) + len(counts).to_bytes(4, "little")
        tables["meta"][b"labels\0\0\0\0"] = wide + packed[8:16] + counts + packed[16 + own :]

    with logitcache.open(cache.write(tmp_path, seal=False, change=widen)) as opened:
        assert np.array_equal(opened.labels(0), cache.block_labels(0))
        with pytest.raises(LogitCacheError, match="not stored canonically"):
            opened.verify()


def test_an_index_entry_with_another_number_of_records_is_noticed(tmp_path):
    cache = small("sample", samples=4, views=1)

    def more(tables):
        key = next(iter(tables["index"]))
        columns = cache.columns[0, 0]
        cache.columns[0, 0] = type(columns)(
            **{**vars(columns), "labels": np.append(columns.labels, 0)}
        )
        tables["index"][key] = cache.entry((0, 0), len(cache.stored((0, 0))) + 4)

    with logitcache.open(cache.write(tmp_path, seal=False, change=more)) as opened:
        with pytest.raises(LogitCacheError, match="another number of records"):
            opened.verify()


# PyTorch


def replay(folder, labels):
    """A dataset of 10 samples, and the small cache behind it."""
    torch_module = pytest.importorskip("logitcache.torch")
    from logitcache.views import DataSet, Recipe, Renderer

    generator = np.random.default_rng(3)
    features = generator.standard_normal((10, 5, 2)).astype(np.float32)
    truth = (
        generator.integers(-4, 7, (10, 5)) if labels == "position" else generator.integers(0, 7, 10)
    )
    if labels == "sample":
        features = features.reshape(10, 10)
    data = DataSet("tokens", features, truth, "abcdefg")
    recipe = Recipe({"version": 1, "operations": []})
    renderer_recipe = dict(digest=recipe.digest, content=recipe.canonical)
    described = document(labels, k=7, recipe=renderer_recipe)
    described["dataSet"]["fingerprint"] = data.fingerprint
    renderer = Renderer(data, recipe, described["seed"])
    cache = SmallCache(
        described,
        labels=data.labels,
        view_digest=lambda view, samples: renderer.digest(samples, view),
    )
    cache.write(folder)
    return torch_module.ReplayDataset(folder, lambda: data, check_blocks=None), cache, data


@pytest.mark.parametrize("labels", ["sample", "position"])
def test_replay_gives_all_records_of_a_view_and_a_mask(tmp_path, labels):
    torch = pytest.importorskip("torch")
    from logitcache.torch import collate, kd

    replayed, cache, data = replay(tmp_path / "cache", labels)
    assert len(replayed) == 20
    whole = replayed.__getitems__([3, 12, 0, 19, 5])
    joined = collate([replayed[3], replayed.__getitems__([12, 0]), replayed.__getitems__([19, 5])])
    for batch in (whole, joined):
        teacher = batch.teacher
        assert len(batch) == 5 and batch.labels.shape == (5, 5)
        assert int(teacher.mask.sum()) == len(teacher)
        assert torch.equal(batch.labels >= 0, teacher.mask)
        assert torch.equal(batch.labels[teacher.mask], teacher.labels)
        if labels == "position":
            assert np.array_equal(batch.labels.numpy(), data.labels[[3, 2, 0, 9, 5]])
    assert torch.equal(whole.teacher.owners, joined.teacher.owners)
    assert torch.equal(whole.teacher.class_ids, joined.teacher.class_ids)

    # The mean over unmasked positions; no gradient at the others.
    student = torch.randn(5, 5, 7, dtype=torch.float64, requires_grad=True)
    loss = kd(student, whole.teacher, temperature=4)
    loss.backward()
    rows = whole.teacher.rows(student)
    each = [
        kd(rows[i : i + 1], row, temperature=4) for i, row in enumerate(single_rows(whole.teacher))
    ]
    assert torch.isclose(loss, torch.stack(each).mean())
    assert torch.all(student.grad[~whole.teacher.mask] == 0)
    assert torch.all(student.grad[whole.teacher.mask].abs().sum(1) > 0)


def single_rows(teacher):
    """Each record as a batch of its own, of no position."""
    import dataclasses

    plain = dataclasses.replace(teacher, owners=None, positions=None, samples=None)
    return [plain.map(lambda tensor, i=i: tensor[i : i + 1]) for i in range(len(teacher))]


def test_a_batch_in_which_no_position_counts_has_a_loss_of_0(tmp_path):
    torch = pytest.importorskip("torch")
    from logitcache.torch import TeacherBatch, dist, kd, mse, pld

    cache = SmallCache(document("position", k=7), labels=np.full((10, 5), -1))
    with logitcache.open(cache.write(tmp_path)) as opened:
        teacher = TeacherBatch.from_records(opened.records([1, 2], view=0))
    assert not teacher.mask.any()
    for loss in (kd, mse, dist, pld):
        student = torch.randn(2, 5, 7, requires_grad=True)
        value = loss(student, teacher)
        value.backward()
        assert value == 0 and not student.grad.any()
    with pytest.raises(LogitCacheError, match="do not fit"):
        kd(torch.zeros(2, 4, 7), teacher)


def test_other_labels_than_the_data_set_s_are_refused(tmp_path):
    pytest.importorskip("torch")
    replayed, _, data = replay(tmp_path / "cache", "position")
    place = np.argwhere(data.labels >= 0)[0]
    data.labels[tuple(place)] = (data.labels[tuple(place)] + 1) % 7
    with pytest.raises(LogitCacheError, match="other labels"):
        replayed.__getitems__(list(range(10)))


def test_golden_places_are_digested():
    """Counts, then positions, after all other columns (Tests/Golden/README.md)."""
    columns = small("sample").columns[0, 0]
    plain = type(columns)(**{**vars(columns), "counts": None, "positions": None})
    builders = hashlib.sha256(), hashlib.sha256()
    columns.digest_into(builders[0])
    plain.digest_into(builders[1])
    for values in (columns.counts, columns.positions):
        builders[1].update(values.astype("<i8").tobytes())
    assert builders[0].digest() == builders[1].digest()
