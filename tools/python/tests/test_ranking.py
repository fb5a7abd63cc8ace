"""The order of all classes beside the head."""

import numpy as np
import pytest
from small_cache import SmallCache, assert_every_flip_is_noticed, manifest_document

import logitcache
from logitcache import LogitCacheError


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("key", [0, 1, 2])
@pytest.mark.parametrize("classes, k", [(2, 1), (20, 3), (20, 19), (257, 12)])
def test_orders_come_back(classes, k, key, seed, tmp_path):
    document = manifest_document(classes=classes, k=k, ranking="full")
    small = SmallCache(document, seed, key)
    with logitcache.open(small.write(tmp_path / "cache")) as cache:
        assert cache.verify().records == 20
        for view in range(2):
            records = cache.records(range(10), view)
            assert np.array_equal(np.sort(records.ranking, 1), np.tile(np.arange(classes), (10, 1)))
            for row in range(10):
                block, place = divmod(row, 4)
                columns = small.columns[view, block]
                whole = np.concatenate([columns.ids[place], columns.ranking[place]])
                assert np.array_equal(records.ranking[row], whole)


def test_every_flipped_bit_of_a_ranking_is_another_block_or_refused():
    small = SmallCache(manifest_document(classes=20, k=3, ranking="full"))
    assert_every_flip_is_noticed(small)


TAIL = dict(stepSixteenths=24, maximumAxes=6, axisBytes=1)


@pytest.mark.parametrize(
    "more, text",
    [
        (dict(ranking="half"), "not 'full'"),
        (dict(ranking="full", k=7), "beside all classes"),
        (dict(ranking="full", subspaceTail=TAIL), "beside a subspace tail"),
        (dict(ranking="full", classes=65537), "too many for a ranking"),
        (dict(ranking="full", classes=65536, block_rows=1025), "do not fit a block"),
    ],
)
def test_what_no_ranking_can_be_is_refused(more, text):
    with pytest.raises(LogitCacheError, match=text):
        SmallCache(manifest_document(**more))
