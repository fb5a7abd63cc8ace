"""Golden caches: Swift and Python must decode the same integers (Tests/Golden/README.md)."""

import hashlib
import json
import pathlib

import numpy as np
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
        if "coefficientsDigest" in expected:
            assert coefficients_digest(cache) == expected["coefficientsDigest"]


def coefficients_digest(cache):
    """Coefficients in half steps, as Tests/Golden/README.md has them."""
    digest, half = hashlib.sha256(), cache.manifest.encoding.subspace_tail.step / 2
    for view, block in cache.stored_blocks():
        values = cache.axes.coefficients(cache.block(view, block).columns.coefficients) / half
        assert np.array_equal(values, np.rint(values))
        digest.update(values.astype("<i8").tobytes())
    return digest.hexdigest()


def test_a_columns_digest_is_over_all_records_in_order(tmp_path):
    caches = [SmallCache(manifest_document(feature_width=1), seed) for seed in (1, 1, 2)]
    digests = []
    for index, small in enumerate(caches):
        with logitcache.open(small.write(tmp_path / str(index))) as cache:
            digests.append(cache.columns_digest())
    assert digests[0] == digests[1] != digests[2]
