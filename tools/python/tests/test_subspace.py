"""The subspace tail: axes, coefficients and rebuilt rows."""

import struct

import numpy as np
import pytest
from small_cache import SmallCache, assert_every_flip_is_noticed, complete, manifest_document

import logitcache
from logitcache import LogitCacheError
from logitcache.canonical import canonical_json
from logitcache.manifest import parse_manifest
from logitcache.subspace import Axes

TAIL = dict(stepSixteenths=24, maximumAxes=6, axisBytes=1)


def document(**more):
    return manifest_document(classes=20, k=3, subspaceTail=TAIL | more)


def coefficients(codes, axes):
    """What codes stand for, one after the other."""
    state = 0
    for axis, code in enumerate(int(code) for code in codes):
        half = state % 2 if axis < axes.trellis_axes else 0
        yield (code + half / 2) * 1.5
        state = (state // 2) ^ (5 * (state % 2)) ^ (2 * (code % 2))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("width", [1, 2])
def test_rows_are_what_the_format_says(seed, width, tmp_path):
    small = SmallCache(document(axisBytes=width), seed)
    with logitcache.open(small.write(tmp_path / "cache")) as cache:
        assert cache.verify().records == 20
        records, axes = cache.records(range(10), 1), cache.axes
        rows = axes.rebuild(records)
        for row in range(10):
            block, place = divmod(row, 4)
            columns = small.columns[1, block]
            z0 = columns.largest[place] / 128
            last = columns.levels[place, -1] / 32
            for c in range(20):
                gap = columns.offsets[place] / 32 - float(axes.mean[c])
                for a, value in enumerate(coefficients(columns.coefficients[place], axes)):
                    gap -= value * float(axes.values[a, c])
                gap = min(max(gap, last), 2**19)
                if c == columns.labels[place]:
                    gap = columns.label_levels[place] / 32
                if c in columns.ids[place]:
                    gap = columns.levels[place, list(columns.ids[place]).index(c)] / 32
                assert abs(rows[row, c] - (z0 - gap)) < 1e-3


def test_every_flipped_bit_of_the_tail_is_another_block_or_refused():
    small = SmallCache(document())
    assert_every_flip_is_noticed(small)


def test_wrong_axes_are_refused():
    encoding = parse_manifest(canonical_json(SmallCache(document()).document), "it").encoding
    mean, codes = np.zeros(20, "<f4").tobytes(), bytes(range(40))

    def axes(
        magic=b"LGAS", classes=20, count=2, width=1, trellis=1, mean=mean, scale=0.5, codes=codes
    ):
        scales = np.full(2, scale, "<f4").tobytes()
        head = struct.pack("<4sIIHH", magic, classes, count, width, trellis)
        return head + mean + scales + codes

    for trellis in range(3):
        found = Axes(axes(trellis=trellis), encoding, "it")
        assert (len(found), found.trellis_axes) == (2, trellis)
    wrong = [dict(magic=b"LGAT"), dict(classes=21), dict(count=7), dict(width=2), dict(trellis=3)]
    wrong += [dict(scale=value) for value in (0, -1, 1e-39, np.nan, np.inf, 2**20)]
    wrong += [dict(mean=np.full(20, value, "<f4").tobytes()) for value in (np.nan, 2**21)]
    wrong += [dict(codes=b"\x80" + codes[1:]), dict(codes=codes[1:]), dict(codes=codes + b"\0")]
    for change in wrong:
        with pytest.raises(LogitCacheError):
            Axes(axes(**change), encoding, "it")


@pytest.mark.parametrize(
    "change",
    [dict(stepSixteenths=0), dict(stepSixteenths=4097), dict(maximumAxes=0), dict(axisBytes=3)],
)
def test_settings_out_of_range_are_refused(change):
    wrong = complete(document(**change), np.zeros(10, int), b"")
    with pytest.raises(LogitCacheError, match=next(iter(change))):
        parse_manifest(canonical_json(wrong), "it")


def test_a_tail_beside_all_classes_is_refused():
    with pytest.raises(LogitCacheError, match="beside all classes"):
        SmallCache(manifest_document(classes=7, k=7, subspaceTail=TAIL))
