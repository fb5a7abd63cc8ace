"""Replaying caches in PyTorch."""

import functools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from small_cache import SmallCache, manifest_document  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from logitcache import LogitCacheError  # noqa: E402
from logitcache.torch import EpochSampler, ReplayDataset, collate, dist, kd, mse, pld  # noqa: E402
from logitcache.views import DataSet, Recipe, Renderer, open_data_set  # noqa: E402

SLICE = functools.partial(open_data_set, "fashion-mnist/train[0:1024]")


def pictures() -> DataSet:
    generator = np.random.default_rng(3)
    pixels = generator.integers(0, 256, (10, 6, 5, 2), np.uint8)
    return DataSet("pictures", pixels, generator.integers(0, 7, 10), "abcdefg")


def write_cache(folder) -> str:
    """A small cache of `pictures` whose labels and views are the right ones."""
    data = pictures()
    recipe = Recipe({"version": 1, "operations": [{"op": "flip"}, {"op": "mixup"}]})
    document = manifest_document(k=7, recipe=dict(digest=recipe.digest, content=recipe.canonical))
    document["dataSet"]["fingerprint"] = data.fingerprint
    renderer = Renderer(data, recipe, document["seed"])
    small = SmallCache(
        document,
        labels=data.labels,
        view_digest=lambda view, samples: renderer.digest(samples, view),
    )
    return small.write(folder)


@pytest.fixture
def data(tmp_path):
    return ReplayDataset(write_cache(tmp_path / "cache"), pictures, check_blocks=None)


def test_items_are_the_views_and_records_of_the_cache(data):
    assert len(data) == 20
    batch = data.__getitems__([13, 2, 19])
    assert batch.samples.tolist() == [3, 2, 9] and batch.views.tolist() == [1, 0, 1]
    rendered = data.renderer.render([3, 2, 9], [1, 0, 1])
    assert np.array_equal(batch.elements.numpy(), rendered.elements)
    records = data.cache.records([3, 2, 9], [1, 0, 1])
    assert np.array_equal(batch.teacher.gaps.numpy(), records.gaps)
    assert batch.labels.tolist() == pictures().labels[[3, 2, 9]].tolist()
    assert batch.images().shape == (3, 2, 6, 5)
    for a, b in [(collate([data[13], data[2], data[19]]), batch), (collate(batch), batch)]:
        assert torch.equal(a.elements, b.elements) and torch.equal(a.partners, b.partners)
        assert torch.equal(a.teacher.class_ids, b.teacher.class_ids)
    with pytest.raises(LogitCacheError, match="items 0 to 19"):
        data[20]


@pytest.mark.parametrize("context", [None, "fork", "spawn"])
def test_workers_give_what_the_process_itself_gives(data, context):
    sampler = EpochSampler(data, batch=4, seed=5)
    loader = DataLoader(
        data,
        batch_sampler=sampler,
        collate_fn=collate,
        num_workers=2 if context else 0,
        multiprocessing_context=context,
    )
    found = list(loader)
    assert sorted(s for batch in found for s in batch.samples.tolist()) == list(range(10))
    for batch, indices in zip(found, sampler):
        wanted = data.__getitems__(indices)
        assert torch.equal(batch.elements, wanted.elements)
        assert torch.equal(batch.teacher.gaps, wanted.teacher.gaps)


def test_epochs_go_through_the_views_in_orders_of_their_own(data):
    sampler = EpochSampler(data, batch=3, seed=5, window=2)
    orders = []
    for sampler.epoch in range(4):
        items = [item for batch in sampler for item in batch]
        assert sorted(items) == [10 * (sampler.epoch % 2) + i for i in range(10)]
        orders.append(tuple(item % 10 for item in items))
    assert len(set(orders)) == 4 and len(sampler) == 4
    sampler.epoch = 1
    assert tuple(item % 10 for batch in sampler for item in batch) == orders[1]


def test_other_data_is_refused(data):
    with pytest.raises(LogitCacheError, match="belongs to data set"):
        ReplayDataset(data.path, lambda: pictures().slice(0, 9))


def small_student() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3, stride=2),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 16, 3, stride=2),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(16 * 6 * 6, 10),
    )


@pytest.mark.parametrize(
    "name, loss, rate",
    [
        ("kd", lambda s, t: kd(s, t, 4), 2e-3),
        ("dist", lambda s, t: dist(s, t, 4), 2e-3),
        ("pld", pld, 2e-3),
        ("mse", mse, 2e-3),
    ],
)
def test_an_epoch_of_a_small_student_learns(full_rows, name, loss, rate):
    torch.manual_seed(1)
    torch.set_num_threads(1)
    data = ReplayDataset(full_rows, SLICE, check_blocks=1)
    sampler = EpochSampler(data, batch=32, seed=1)
    student = small_student()
    optimizer = torch.optim.Adam(student.parameters(), lr=rate)
    losses = []
    for batch in DataLoader(data, batch_sampler=sampler, collate_fn=collate):
        value = loss(student(batch.images(0.286, 0.353)), batch.teacher)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert len(losses) == 32
    assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:4]), losses


def test_truncated_records_serve_the_losses_that_they_cover(sparse_rows):
    data = functools.partial(open_data_set, "fashion-mnist/train[100:300]")
    batch = ReplayDataset(sparse_rows, data).__getitems__(range(64))
    logits = torch.zeros(64, 10, requires_grad=True)
    for value in [
        kd(logits, batch.teacher, 2),
        dist(logits, batch.teacher, 4),
        pld(logits, batch.teacher),
    ]:
        value.backward()
        assert logits.grad.isfinite().all()
    with pytest.raises(LogitCacheError, match="1, 2, 4, not at 3"):
        kd(logits, batch.teacher, 3)
    with pytest.raises(LogitCacheError, match="MSE needs every logit"):
        mse(logits, batch.teacher)
