"""The block codec on hostile bytes, and on the worked example of docs/FORMAT.md."""

import hashlib
import pathlib
import random
import re

import numpy as np
import pytest
from small_cache import SmallCache, manifest_document, sealed_value

from logitcache import LogitCacheError, blocks
from logitcache.manifest import parse_manifest

FORMAT = (pathlib.Path(__file__).parents[3] / "docs/FORMAT.md").read_text()


def worked_example():
    """The manifest and the canonical bytes that the document shows."""
    text = re.search(r'^\{"calibration".*\}$', FORMAT, re.M).group().encode()
    lines = re.findall(r"^[0-9a-f]{4}((?:  ?[0-9a-f]{2})+)$", FORMAT, re.M)
    return parse_manifest(text, "FORMAT.md"), bytes.fromhex("".join(lines))


def test_the_worked_example_reads_as_the_document_says():
    manifest, content = worked_example()
    assert f"Fingerprint `{manifest.fingerprint}`" in FORMAT
    assert hashlib.sha256(content).hexdigest() in FORMAT
    block = blocks.decode(content, manifest, 0, 0, "the example")
    columns = block.columns
    assert columns.ids.tolist() == [[0, 1], [2, 1], [0, 1]]
    assert columns.levels.tolist() == [[0, 48], [0, 320], [0, 0]]
    assert columns.largest.tolist() == [256, 1408, -128]
    assert columns.labels.tolist() == [0, 3, 1]
    assert columns.label_ranks.tolist() == [0, 2, 1]
    assert columns.label_levels.tolist() == [0, 344, 0]
    assert columns.tails[:, 0].tolist() == [-121, -651, 0]
    assert block.view_digest == hashlib.sha256(b"what the teacher saw").hexdigest()
    assert blocks.encode(block, manifest, 0, 0) == content


@pytest.mark.parametrize("feature_width", [None, 2])
def test_every_flipped_bit_gives_another_block_or_is_refused(feature_width):
    """What decodes and is canonical must not be the block that was written."""
    small = SmallCache(manifest_document(feature_width=feature_width))
    content, manifest = small.contents[1, 1], small.manifest
    right = blocks.decode(content, manifest, 1, 1, "it")
    for place in range(len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            try:
                found = blocks.decode(bytes(damaged), manifest, 1, 1, "it")
            except LogitCacheError:
                continue
            if blocks.encode(found, manifest, 1, 1) == damaged:
                same = found.view_digest == right.view_digest and all(
                    np.array_equal(a, b)
                    for a, b in zip(vars(found.columns).values(), vars(right.columns).values())
                )
                assert not same, (place, bit)


def test_every_flipped_bit_of_a_stored_value_is_found():
    small = SmallCache(manifest_document())
    value = sealed_value(small.stored((0, 0)))
    assert blocks.unpack(value, small.manifest, "it") == small.contents[0, 0]
    for place in range(8 * len(value)):
        damaged = bytearray(value)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(LogitCacheError):
            blocks.unpack(damaged, small.manifest, "it")


@pytest.mark.parametrize("seed", range(4))
def test_no_bytes_make_the_decoder_fail_otherwise(seed):
    chosen = random.Random(seed)
    small = SmallCache(manifest_document(classes=300, k=4, feature_width=1), seed)
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
            found = blocks.decode(bytes(damaged), small.manifest, 0, 0, "it")
        except LogitCacheError:
            continue
        blocks.encode(found, small.manifest, 0, 0)


@pytest.mark.parametrize("length", [0, 1, 71, 72, 100, 143])
def test_a_block_that_is_cut_off_is_refused(length):
    small = SmallCache(manifest_document())
    with pytest.raises(LogitCacheError):
        blocks.decode(small.contents[0, 0][:length], small.manifest, 0, 0, "it")
