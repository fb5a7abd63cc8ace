"""The block codec on hostile bytes, and on the worked example of docs/FORMAT.md."""

import hashlib
import pathlib
import random
import re
import struct

import numpy as np
import pytest
from small_cache import SmallCache, manifest_document, sealed_value

from logitcache import LogitCacheError, blocks
from logitcache.calibration import Calibration, Orders
from logitcache.forms import (
    BUCKETS,
    CODES,
    FORMS,
    PLAIN,
    PieceReader,
    _write_buckets,
    pack_bits,
    write_integers,
)
from logitcache.manifest import parse_manifest

FORMAT = (pathlib.Path(__file__).parents[3] / "docs/FORMAT.md").read_text()


def worked_example():
    """The codec and the canonical bytes of the document; its cache learned nothing."""
    text = re.search(r'^\{"calibration".*\}$', FORMAT, re.M).group().encode()
    manifest = parse_manifest(text, "FORMAT.md")
    blob = struct.pack("<4sHBBIII", b"LGCC", 1, 0, 3, 0, 0, 0) + struct.pack(
        "<12i", 0, 0, 0, 0, 0, 0, 4096, 0, 0, 0, 0, 4096
    )
    assert hashlib.sha256(blob).hexdigest() == manifest.calibration
    lines = re.findall(r"^[0-9a-f]{4} ((?: [0-9a-f]{2})+)$", FORMAT, re.M)
    codec = blocks.Codec(manifest, Calibration(blob, manifest.encoding, "FORMAT.md"))
    return codec, bytes.fromhex("".join(lines))


def test_the_worked_example_reads_as_the_document_says():
    codec, content = worked_example()
    assert f"Fingerprint `{codec.manifest.fingerprint}`" in FORMAT
    assert hashlib.sha256(content).hexdigest() in FORMAT
    labels = np.array([0, 3, 1])
    assert hashlib.sha256(labels.astype("<u4").tobytes()).hexdigest() in FORMAT
    block = codec.decode(content, 0, 0, labels, "the example")
    columns = block.columns
    assert columns.ids.tolist() == [[0, 1], [2, 1], [0, 1]]
    assert columns.levels.tolist() == [[0, 48], [0, 320], [0, 0]]
    assert columns.largest.tolist() == [64, 352, -32]
    assert columns.label_ranks.tolist() == [0, 2, 1]
    assert columns.label_levels.tolist() == [0, 344, 0]
    assert columns.tails[:, 0].tolist() == [-121, -651, 0]
    assert block.view_digest == hashlib.sha256(b"what the teacher saw").hexdigest()
    assert codec.encode(block, 0, 0) == content


# Forms


INTEGERS = [
    [],
    [0] * 40,
    [7] * 40,
    [2**32 - 1],
    [0, 1, 2**32 - 1],
    list(range(300)),
    [15, 16, 17, 31, 32, 2**31 - 1, 2**31],
]


def written(values, form: int) -> tuple[int, bytes]:
    """Width and bytes of integers in a form of choice."""
    values = np.array(values, np.int64)
    if form == PLAIN:
        width = int(values.max(initial=0)).bit_length()
        return width, pack_bits(values, width)
    if form == BUCKETS:
        return 0, _write_buckets(values)[3]
    top = (1 << form) - 1
    rest = _write_buckets(values[values >= top] - top)[3]
    return 0, pack_bits(np.minimum(values, top), form) + rest


@pytest.mark.parametrize("form", [BUCKETS, *CODES, PLAIN])
@pytest.mark.parametrize("values", [*INTEGERS, "random"], ids=lambda v: str(v)[:12])
def test_integers_come_back_in_every_form(values, form):
    if values == "random":
        generator = np.random.default_rng(form)
        values = (2 ** (32 * generator.random(999))).astype(np.int64).tolist()
    width, content = written(values, form)
    reader = PieceReader(memoryview(content), "it")
    assert reader.integers(len(values), form, width).tolist() == values
    reader.end()
    chosen, width, content = write_integers(np.array(values, np.int64))
    reader = PieceReader(memoryview(content), "it")
    assert reader.integers(len(values), chosen, width).tolist() == values


@pytest.mark.parametrize("form", FORMS)
def test_a_form_can_be_asked_for(form):
    values = np.array([0, 3, 70_000, 1, 0, 16], np.int64)
    found, width, content = write_integers(values, [form])
    assert found == form
    assert PieceReader(content, "a plane").integers(6, form, width).tolist() == values.tolist()


def test_the_form_with_the_fewest_bits_is_chosen():
    # Nothing but 0 takes no bits in any form; rare large integers are escapes among codes.
    assert write_integers(np.zeros(9, np.int64))[0] == BUCKETS
    rare = np.zeros(4000, np.int64)
    rare[::400] = 77
    assert write_integers(rare)[0] in CODES


@pytest.mark.parametrize(
    "form, width, content, reason",
    [
        (3, 0, b"0000", "form 3"),
        (0, 1, b"0000", "the width 1"),
        (1, 4, b"0000", "the width 4"),
        (16, 33, b"0" * 20, "the width 33"),
        (16, 8, b"000", "ends too early"),
        (16, 8, b"00000", "bytes follow its end"),
        (16, 3, b"\xff\xff", "set after the end"),
        (0, 0, b"\x80000", "a bucket above 127"),
        (0, 0, b"\x7f\x01\x01\x01", "ends too early"),
        (1, 0, b"\x0f", "ends too early"),
        (1, 0, b"\x0f\x7f\x7f\x7f\x7f" + b"\xff" * 14 + b"\x0f", "too large"),
    ],
)
def test_pieces_that_are_no_integers_are_refused(form, width, content, reason):
    with pytest.raises(LogitCacheError, match=reason):
        reader = PieceReader(memoryview(content), "it")
        reader.integers(4, form, width)
        reader.end()


# Orders


@pytest.mark.parametrize("seed", range(8))
def test_orders_are_lists_and_then_the_global_order(seed):
    generator = np.random.default_rng(seed)
    classes, count = 23, int(generator.integers(1, 23))
    first = generator.permutation(classes)[: generator.integers(0, 24)]
    keys = np.sort(generator.permutation(classes)[:count])
    length = int(generator.integers(1, 24))
    lists = np.array([generator.permutation(classes)[:length] for _ in range(count)])
    orders = Orders(classes, first, keys, lists)
    everything = [*first, *(c for c in range(classes) if c not in first)]
    ranks = np.arange(classes)
    for key in range(classes):
        wanted = everything
        if key in keys:
            start = lists[np.searchsorted(keys, key)].tolist()
            wanted = [*start, *(c for c in everything if c not in start)]
        assert orders.classes(np.full(classes, key), ranks).tolist() == wanted
        assert orders.ranks(np.full(classes, key), np.array(wanted)).tolist() == ranks.tolist()
    assert orders.without_lists().classes(ranks, ranks).tolist() == everything


def blob(key=1, temperatures=3, counts=(2, 2, 1), ids=(0, 1, 3, 4, 5), coefficients=(0,) * 12):
    head = struct.pack("<4sHBBIII", b"LGCC", 1, key, temperatures, *counts)
    packed = pack_bits(np.array(ids, np.int64), 3)
    return head + packed + struct.pack(f"<{len(coefficients)}i", *coefficients)


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "too early"),
        (b"X" + blob()[1:], "not a calibration"),
        (blob()[:4] + b"\2" + blob()[5:], "not a calibration"),
        (blob(key=3), "unknown key 3"),
        (blob(temperatures=2), "other temperatures"),
        (blob(counts=(8, 2, 1)), "more classes than there are"),
        (blob(key=0), "only some of"),
        (blob(counts=(2, 0, 1)), "only some of"),
        (blob(counts=(2, 2, 0)), "only some of"),
        (blob(counts=(7, 7, 7)), "too early"),
        (blob()[:-1], "too early"),
        (blob() + b"1", "1 bytes follow its end"),
        (blob(ids=(0, 1, 7, 4, 5)), "a class that does not exist"),
        (blob(ids=(1, 1, 3, 4, 5)), "global order names a class twice"),
        (blob(ids=(0, 1, 3, 4, 4)), "a list names a class twice"),
        (blob(counts=(0, 1, 2), ids=(3, 3, 0, 1)), "do not ascend"),
        (blob(coefficients=(2**20 + 1,) + (0,) * 11), "a coefficient is out of range"),
    ],
)
def test_what_is_no_calibration_is_refused(content, reason):
    encoding = SmallCache(manifest_document()).manifest.encoding
    assert Calibration(blob(), encoding, "it").key == 1
    with pytest.raises(LogitCacheError, match=reason):
        Calibration(content, encoding, "it")


# Hostile bytes


@pytest.mark.parametrize("feature_width, key", [(None, 1), (2, 2)])
def test_every_flipped_bit_gives_another_block_or_is_refused(feature_width, key):
    """What decodes and is canonical must not be the block that was written."""
    small = SmallCache(manifest_document(feature_width=feature_width), key=key)
    content = small.contents[1, 1]
    right = small.decode((1, 1), content)
    for place in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        try:
            found = small.decode((1, 1), damaged)
        except LogitCacheError:
            continue
        if small.codec.encode(found, 1, 1) == damaged:
            pairs = zip(vars(found.columns).values(), vars(right.columns).values())
            same = all(np.array_equal(a, b) for a, b in pairs)
            assert found.view_digest != right.view_digest or not same, place


def test_every_flipped_bit_of_a_stored_value_is_found():
    small = SmallCache(manifest_document())
    value = sealed_value(small.stored((0, 0)))
    assert blocks.unpack(value, small.manifest, "it") == small.contents[0, 0]
    for place in range(8 * len(value)):
        damaged = bytearray(value)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(LogitCacheError):
            blocks.unpack(damaged, small.manifest, "it")


@pytest.mark.parametrize("seed", range(6))
def test_no_bytes_make_the_decoder_fail_otherwise(seed):
    chosen = random.Random(seed)
    small = SmallCache(manifest_document(classes=300, k=4, feature_width=1), seed, key=seed % 3)
    content = small.contents[0, 0]
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(chosen.randrange(1, 6)):
            damaged[chosen.randrange(72, len(content))] = chosen.randrange(256)
        if chosen.random() < 0.3:
            damaged = damaged[: chosen.randrange(len(content))]
        if chosen.random() < 0.3:
            damaged += chosen.randbytes(chosen.randrange(20))
        try:
            found = small.decode((0, 0), damaged)
        except LogitCacheError:
            continue
        small.codec.encode(found, 0, 0)


@pytest.mark.parametrize("length", [0, 1, 71, 72, 100, 150])
def test_a_block_that_is_cut_off_is_refused(length):
    small = SmallCache(manifest_document())
    with pytest.raises(LogitCacheError):
        small.decode((0, 0), small.contents[0, 0][:length])
