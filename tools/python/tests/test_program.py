"""Caches of the Swift program: both read the same, and render the same views."""

import json
import os
import re
import subprocess
from fractions import Fraction

import numpy as np
import pytest

import logitcache
from logitcache.views import check_views, matching_renderer, open_data_set, read_texts


@pytest.mark.parametrize(
    "which, data",
    [
        ("full_rows", "fashion-mnist/train[0:1024]"),
        ("tail_rows", "fashion-mnist/train[0:1024]"),
        ("ranked_rows", "fashion-mnist/train[0:1024]"),
        ("sparse_rows", "fashion-mnist/train[100:300]"),
    ],
)
def test_caches_of_the_program_are_sound_and_made_from_the_same_views(which, data, request):
    with logitcache.open(request.getfixturevalue(which)) as cache:
        report = cache.verify()
        assert report.digest and report.missing_blocks == 0
        samples = open_data_set(data)
        check_views(cache, matching_renderer(cache, samples), None)
        view = cache.manifest.views - 1
        records = cache.records(range(len(samples)), view)
        assert np.array_equal(records.labels, samples.labels)
        # The teacher is good, but CutMix hides what it should see.
        first = np.mean(records.label_ranks == 0)
        assert first > (0.9 if which == "sparse_rows" else 0.6)


def test_texts_of_the_program_are_read_and_rendered_the_same(text_cache):
    data = read_texts("t", [text_cache / "texts.tsv"], ["de", "ru", "zh"], 24)
    with logitcache.open(text_cache / "cache") as cache:
        check_views(cache, matching_renderer(cache, data), None)
        assert np.array_equal(cache.records(range(120), 1).labels, data.labels)


def test_rebuilt_rows_are_the_teachers(tail_rows, full_rows):
    with logitcache.open(tail_rows) as tail, logitcache.open(full_rows) as full:
        assert tail.verify().digest
        assert full.axes is None and len(tail.axes) == 9  # ten logits less their mean
        samples = range(1024)
        records = tail.records(samples, 1)
        rows = tail.axes.rebuild(records)
        exact = full.records(samples, 1)
        ranked = np.take_along_axis(rows, exact.class_ids.astype(np.int64), 1)
        error = np.linalg.norm(ranked - exact.logits(), axis=1)
        # Half a step on nine axes of 1/4 nat, half steps of 1/32 and 1/64 on ten logits.
        assert error.max() < 9**0.5 / 8 + 10**0.5 * (1 / 64 + 1 / 128) + 0.1
        # On the average less than rounding errs by; codes that are misread err by three times that.
        assert tail.axes.trellis_axes == 9
        assert (error**2).mean() < 9 / 16 / 12
        head = np.take_along_axis(rows, records.class_ids.astype(np.int64), 1)
        assert np.allclose(head, records.logits(), atol=1e-6)


def test_the_order_of_all_classes_is_that_of_full_rows(ranked_rows, full_rows):
    with logitcache.open(ranked_rows) as ranked, logitcache.open(full_rows) as full:
        assert ranked.manifest.encoding.ranking == "full"
        for view in range(2):
            records, exact = ranked.records(range(1024), view), full.records(range(1024), view)
            assert records.ranking.shape == (1024, 10)
            assert np.array_equal(records.ranking, exact.class_ids)
            assert np.array_equal(records.class_ids, exact.class_ids[:, :3])
            assert exact.ranking is None
        info = [ranked.info(*key) for key in ranked.stored_blocks()]
    shown = json.loads(inspect(ranked_rows, "--json"))["ranking"]
    stored = sum(i.planes[7][1] for i in info)
    assert shown == {"kept": "full", "bytesPerRecord": stored / 2048}


def test_the_program_shows_the_same_axes(tail_rows):
    shown = json.loads(inspect(tail_rows, "--json"))["subspaceTail"]
    with logitcache.open(tail_rows) as cache:
        assert shown["axes"] == len(cache.axes)
        assert shown["trellisAxes"] == cache.axes.trellis_axes
        assert shown["step"] == cache.manifest.encoding.subspace_tail.step
        info = [cache.info(*key) for key in cache.stored_blocks()]
        stored = sum(i.planes[plane][1] for i in info for plane in (8, 9))
        assert shown["bytesPerRecord"] == stored / 2048


def test_derived_caches_are_sound_and_name_their_source(sparse_rows, tmp_path):
    derived = str(tmp_path / "derived")
    command = [
        os.environ["LOGITCACHE_PROGRAM"],
        "derive",
        derived,
        "--from",
        sparse_rows,
        "--k",
        "2",
    ]
    subprocess.run(command, check=True, capture_output=True)
    with logitcache.open(derived) as cache, logitcache.open(sparse_rows) as source:
        assert cache.verify().digest
        assert cache.manifest.derived_from == source.digest
        assert source.manifest.derived_from is None
        one, two = cache.records(range(200), 1), source.records(range(200), 1)
        assert np.array_equal(one.class_ids, two.class_ids[:, :2])
        assert np.array_equal(one.gaps, two.gaps[:, :2])
        assert np.array_equal(cache.class_means(), source.class_means())


def inspect(cache: str, *more: str) -> str:
    return subprocess.run(
        [os.environ["LOGITCACHE_PROGRAM"], "inspect", cache, *more],
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_what_the_program_shows_of_a_cache_is_what_is_read(sparse_rows):
    shown = json.loads(inspect(sparse_rows, "--json"))
    with logitcache.open(sparse_rows) as cache:
        assert shown["cacheDigest"] == cache.digest
        assert shown["fingerprint"] == cache.fingerprint
        certificate = cache.certificate()
        assert shown["certificate"]["records"] == certificate.missing_energy.records
        for errors in shown["certificate"]["atTemperature"]:
            mine = certificate.at_temperature[Fraction(errors["temperature"])]
            for name, field in [
                ("totalVariation", "total_variation"),
                ("kdGradientError", "kd_gradient_error"),
                ("pldDroppedWeight", "pld_dropped_weight"),
                ("distAngle", "dist_angle"),
            ]:
                assert errors[name]["mean"] == mine[field].mean
                assert errors[name]["max"] == mine[field].largest


def test_what_the_program_shows_of_a_sample_is_what_is_read(sparse_rows):
    shown = inspect(sparse_rows, "--sample", "17", "--view", "2")
    with logitcache.open(sparse_rows) as cache:
        record = cache.records([17], 2)
        for rank, logit in enumerate(record.logits()[0], 1):
            name = cache.manifest.class_names[record.class_ids[0, rank - 1]]
            assert re.search(rf"^ *{rank} +{logit:.4f} .*{name}", shown, re.M), shown
        assert f"norm of the feature {record.feature_norms[0]:.4f}" in shown


def test_class_means_lie_where_the_norms_say(sparse_rows):
    with logitcache.open(sparse_rows) as cache:
        lengths = np.linalg.norm(cache.class_means(), axis=1)
        norms = cache.records(range(200), 0).feature_norms
        assert 0 < lengths.max() <= norms.max()
