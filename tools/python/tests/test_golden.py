"""Golden caches: Swift and Python must decode the same integers (Tests/Golden/README.md)."""

import json
import pathlib

import pytest
from small_cache import SmallCache, manifest_document

import logitcache

FOLDERS = sorted((pathlib.Path(__file__).parents[3] / "Tests/Golden/v1").glob("*/expected.json"))


@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: path.parent.name)
def test_golden_caches_decode_to_the_expected_integers(path):
    expected = json.loads(path.read_text())
    with logitcache.open(path.parent) as cache:
        report = cache.verify()
        assert report.digest == expected["cacheDigest"]
        assert report.fingerprint == expected["fingerprint"]
        assert report.records == expected["records"]
        assert cache.columns_digest() == expected["columnsDigest"]


def test_a_columns_digest_is_over_all_records_in_order(tmp_path):
    caches = [SmallCache(manifest_document(feature_width=1), seed) for seed in (1, 1, 2)]
    digests = []
    for index, small in enumerate(caches):
        with logitcache.open(small.write(tmp_path / str(index))) as cache:
            digests.append(cache.columns_digest())
    assert digests[0] == digests[1] != digests[2]
