"""Views against the golden files that the Swift code meets too."""

import gzip
import json
import pathlib
import struct

import numpy as np
import pytest
from small_cache import SmallCache, manifest_document

import logitcache
from logitcache import LogitCacheError
from logitcache.views import (
    DataSet,
    Recipe,
    Renderer,
    check_views,
    matching_renderer,
    open_data_set,
    read_idx,
    read_texts,
)
from logitcache.views.operations import root, sine_and_cosine, tangent
from logitcache.views.philox import Draws, philox
from logitcache.views.resize import logarithm, power, resize
from logitcache.views.texts import small_letters

ROOT = pathlib.Path(__file__).parents[3]
FOLDER = ROOT / "Tests/ViewsTests/Golden"
GOLDEN = sorted(path for path in FOLDER.glob("*.json") if path.stem != "resize")


def pictures(height, width, channels, count):
    """The test images that Tests/ViewsTests/Golden/README.md describes."""
    i = np.arange(height * width * channels, dtype=np.uint64)
    s = np.arange(count, dtype=np.uint64)[:, None]
    mixed = (
        i * i * np.uint64(40503)
        + i * np.uint64(2654435761)
        + s * np.uint64(97643) * (i + np.uint64(7))
    )
    pixels = (mixed >> np.uint64(16)).astype(np.uint8).reshape(count, height, width, channels)
    return DataSet("pictures", pixels, np.arange(count) % 3, ["a", "b", "c"])


def sentences(texts, size, folder):
    """The texts of a golden file, from a file of lines."""
    lines = [f"{'abc'[i % 3]}\t{text}\n" for i, text in enumerate(texts)]
    (folder / "texts.tsv").write_text("".join(lines), encoding="utf-8")
    return read_texts("sentences", [folder / "texts.tsv"], ["a", "b", "c"], size)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_views_equal_the_golden_ones(path, tmp_path):
    golden = json.loads(path.read_text())
    recipe = Recipe(golden["recipe"])
    assert recipe.digest == golden["recipeDigest"]
    assert Recipe(recipe.canonical).digest == golden["recipeDigest"]
    if "texts" in golden:
        data = sentences(golden["texts"], *golden["shape"], tmp_path)
    else:
        data = pictures(*golden["shape"], golden["count"])
    assert data.fingerprint == golden["fingerprint"]
    renderer = Renderer(data, recipe, int(golden["seed"]))
    wanted = golden["views"]
    together = renderer.render([v["sample"] for v in wanted], [v["view"] for v in wanted])
    for row, view in enumerate(wanted):
        alone = renderer.render([view["sample"]], view["view"])
        for batch, place in [(together, row), (alone, 0)]:
            assert batch.elements[place].tobytes().hex() == view["pixels"]
            assert batch.partners[place] == view["partner"]
            assert batch.own_shares[place] == np.float32(view["share"] / 65536)
    assert renderer.digest(range(golden["count"]), 0) == golden["digest"]


def test_there_are_golden_views_of_every_operation():
    used = {
        op["op"] for path in GOLDEN for op in json.loads(path.read_text())["recipe"]["operations"]
    }
    assert used == {
        "resized-crop",
        "pad-crop",
        "flip",
        "affine",
        "brightness",
        "contrast",
        "blur",
        "noise",
        "erase",
        "mixup",
        "cutmix",
        "substring",
        "lowercase",
    }


def test_resized_parts_equal_the_golden_ones():
    for case in json.loads((FOLDER / "resize.json").read_text()):
        picture = pictures(*case["old"], 1).elements[0]
        top, left, height, width = case["part"]
        made = resize(picture[top : top + height, left : left + width], *case["new"])
        assert made.shape == (*case["new"], case["old"][2])
        assert made.tobytes().hex() == case["pixels"]


@pytest.mark.parametrize(
    "counter, key, words",
    [
        # Known answers of Random123, kat_vectors, philox4x32 10.
        ([0] * 4, (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_random_words_are_those_of_random123(counter, key, words):
    found = philox(np.array([counter, counter], np.uint64), key)
    assert [" ".join(f"{int(w):08x}" for w in row) for row in found] == [words, words]


def test_whole_square_roots_are_exact():
    edges = np.array(
        [n * n + d for n in (1, 2, 3, 2**15, 2**30 - 1, 2**30, 1518500249) for d in (-1, 0, 1)]
        + [0, 2**60, 2**61 - 1]
    )
    assert [int(r) for r in root(edges)] == [int(__import__("math").isqrt(int(v))) for v in edges]


def test_logarithms_and_powers_are_close_to_the_true_ones():
    for value in (1, 2, 8192, 49152, 65535, 65536, 87381, 524288, 2**26, 2**31):
        assert abs(logarithm(value) - np.log2(value / 65536) * 65536) <= 2
    exponents = np.arange(-(3 << 16), 3 << 16, 977)
    wanted = np.exp2(exponents / 65536) * 65536
    assert (np.abs(power(exponents) - wanted) <= 0.51 + wanted * 1e-8).all()


def test_sines_and_tangents_are_close_to_the_true_ones():
    turns = np.linspace(-(2**31), 2**31, 999).astype(np.int64)
    sine, cosine = sine_and_cosine(turns)
    angle = turns * (2 * np.pi / 2**32)
    assert np.abs(sine / 2**30 - np.sin(angle)).max() < 1e-6
    assert np.abs(cosine / 2**30 - np.cos(angle)).max() < 1e-6
    small = turns // 8
    assert np.abs(tangent(small) / 65536 - np.tan(small * (2 * np.pi / 2**32))).max() < 2e-5


@pytest.mark.parametrize(
    "recipe, reason",
    [
        ([], "must have the members"),
        ({"version": 2, "operations": []}, "only 1 is known"),
        ({"version": True, "operations": []}, "only 1 is known"),
        ({"version": 1, "operations": [{"op": "haze"}]}, "unknown operation 'haze'"),
        ({"version": 1, "operations": [{"op": "blur"}]}, "radius is missing"),
        ({"version": 1, "operations": [{"op": "flip", "often": 1}]}, "unknown parameters often"),
        ({"version": 1, "operations": [{"op": "pad-crop"}]}, "pad is missing"),
        ({"version": 1, "operations": [{"op": "pad-crop", "pad": 0.5}]}, "pad must be an integer"),
        ({"version": 1, "operations": [{"op": "flip", "probability": 2}]}, "from 0 to 1"),
        (
            {"version": 1, "operations": [{"op": "flip", "probability": "65537/65536"}]},
            "from 0 to 1",
        ),
        ({"version": 1, "operations": [{"op": "flip", "probability": "-1/65536"}]}, "from 0 to 1"),
        (
            {"version": 1, "operations": [{"op": "flip", "probability": float("nan")}]},
            "from 0 to 1",
        ),
        ({"version": 1, "operations": [{"op": "affine", "scale": [2, 1]}]}, "least value first"),
        ({"version": 1, "operations": [{"op": "affine", "scale": 2}]}, "a list of two numbers"),
        ({"version": 1, "operations": [{"op": "mixup"}, {"op": "flip"}]}, "must be the last one"),
        ({"version": 1, "operations": [{"op": "flip"}] * 65}, "at most 64"),
        (
            {"version": 1, "operations": [{"op": "flip"}, {"op": "resized-crop"}]},
            "must be the first operation",
        ),
    ],
)
def test_what_is_no_recipe_is_refused(recipe, reason):
    with pytest.raises(LogitCacheError, match=reason):
        Recipe(recipe)


def test_recipe_files_are_read(tmp_path):
    pytest.importorskip("yaml")
    strong = Recipe.load(ROOT / "Examples/fashion-mnist/strong.recipe.yaml")
    assert [step.name for step in strong.operations][-1] == "cutmix"
    (tmp_path / "a.json").write_text(json.dumps(strong.canonical))
    assert Recipe.load(tmp_path / "a.json").digest == strong.digest
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(LogitCacheError, match="is not a recipe"):
        Recipe.load(tmp_path / "b.json")
    with pytest.raises(LogitCacheError, match="cannot read"):
        Recipe.load(tmp_path / "c.json")


def test_features_pass_through():
    features = np.arange(12, dtype=np.float32).reshape(4, 3)
    data = DataSet("features", features, [0, 1, 0, 1], ["a", "b"])
    renderer = Renderer(data, Recipe({"version": 1, "operations": []}), 1)
    assert np.array_equal(renderer.render([2, 0], 1).elements, features[[2, 0]])
    with pytest.raises(LogitCacheError, match="operations need images"):
        Renderer(data, Recipe({"version": 1, "operations": [{"op": "flip"}]}), 1)


@pytest.mark.parametrize(
    "elements, labels, names, reason",
    [
        (np.zeros((2, 3, 3), np.float64), [0, 0], "a", "must hold uint8"),
        (np.zeros((0, 3, 3), np.uint8), [], "a", "no samples"),
        (np.zeros((2, 3, 3), np.uint8), [0], "a", "2 samples and labels"),
        (np.zeros((2, 3, 3), np.uint8), [0, 1], "a", "outside its 1 classes"),
        (np.full((2, 3), np.nan, np.float32), [0, 0], "a", "not finite"),
        (np.zeros((1, 1, 5000), np.uint8), [0], "a", "above 4096"),
        (np.zeros((1, 2, 3), np.float32), [[-1, -100]], "a", "every position is masked"),
        (np.zeros((1, 2, 3), np.float32), [[0, 1]], "a", "outside its 1 classes"),
        (np.zeros((1, 2, 3), np.float32), [0], "a", "features for 2 positions and labels for 1"),
        (np.array([[97, 0], [0, 0]], np.uint8), [0, 0], "a", "sample 1 is not a text"),
        (np.array([[97, 0, 97]], np.uint8), [0], "a", "sample 0 is not a text"),
    ],
)
def test_what_is_no_data_set_is_refused(elements, labels, names, reason):
    with pytest.raises(LogitCacheError, match=reason):
        DataSet("it", elements, np.array(labels, np.int64), names)


def test_idx_files_are_read_plain_and_packed(tmp_path):
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    content = b"\0\0\x08\x03" + struct.pack(">3I", 2, 3, 4) + pixels.tobytes()
    (tmp_path / "plain").write_bytes(content)
    (tmp_path / "packed").write_bytes(gzip.compress(content))
    for name in ("plain", "packed"):
        assert np.array_equal(read_idx(tmp_path / name), pixels)
    for wrong in (
        content[:-1],
        content + b"1",
        content[:10],
        b"",
        b"\0\0\x09" + content[3:],
        gzip.compress(content)[:-9],
        gzip.compress(content + b"1"),
        b"\0\0\x08\x03" + b"\xff" * 12 + bytes(9),
    ):
        (tmp_path / "wrong").write_bytes(wrong)
        with pytest.raises(LogitCacheError):
            read_idx(tmp_path / "wrong")
    with pytest.raises(LogitCacheError, match="cannot read"):
        read_idx(tmp_path / "absent")


def test_small_letters_are_unicodes():
    letters = small_letters()
    changed = [n for n in range(len(letters)) if letters[n] != n]
    assert len(changed) == 361
    assert all(chr(n).lower() == chr(letters[n]) for n in changed)


@pytest.mark.parametrize(
    "line, reason",
    [
        (b"no tab", "line 2: there is no tab"),
        (b"d\ttext", "line 2: 'd' is none of the class names"),
        (b"a\t", "line 2: the text is empty"),
        (b"a\t\xff", "line 2: the text is empty, not UTF-8"),
        (b"a\tone\ttwo", "line 2: .* control characters"),
        (b"a\tone\r", "line 2: .* control characters"),
    ],
)
def test_wrong_lines_of_text_are_refused(line, reason, tmp_path):
    (tmp_path / "texts").write_bytes(b"a\tfine\n" + line + b"\nb\tfine\n")
    with pytest.raises(LogitCacheError, match=reason):
        read_texts("it", [tmp_path / "texts"], ["a", "b"])
    with pytest.raises(LogitCacheError, match="cannot read"):
        read_texts("it", [tmp_path / "absent"], ["a", "b"])


def test_operations_on_another_kind_of_samples_are_refused(tmp_path):
    texts = sentences(["one", "two"], 8, tmp_path)
    for data, operation, kind in [
        (texts, "flip", "images"),
        (pictures(2, 2, 1, 2), "lowercase", "texts"),
    ]:
        with pytest.raises(LogitCacheError, match=f"operations need {kind}"):
            Renderer(data, Recipe({"version": 1, "operations": [{"op": operation}]}), 1)


def test_words_come_in_the_same_order_one_by_one_and_many_at_once():
    samples = np.array([3, 1, 4])
    for before in range(6):
        for count in range(1, 10):
            alone, together = Draws(5, samples, 2, 1), Draws(5, samples, 2, 1)
            for _ in range(before):
                assert np.array_equal(alone.word(), together.word())
            wanted = np.stack([alone.word() for _ in range(count)], axis=1)
            assert np.array_equal(together.words(count), wanted)
            for _ in range(5):
                assert np.array_equal(alone.word(), together.word())


def test_what_drew_the_pictures_is_in_the_fingerprint():
    data = pictures(3, 3, 1, 4)
    drawn = DataSet("it", data.elements, data.labels, data.class_names, origin='{"em":40}')
    other = DataSet("it", data.elements, data.labels, data.class_names, origin='{"em":41}')
    assert len({data.fingerprint, drawn.fingerprint, other.fingerprint}) == 3
    assert drawn.slice(0, 4).fingerprint == drawn.fingerprint


def test_a_data_set_can_be_cut(tmp_path):
    data = pictures(3, 3, 1, 6)
    part = data.slice(2, 5)
    assert len(part) == 3 and np.array_equal(part.elements, data.elements[2:5])
    assert part.fingerprint != data.fingerprint
    for begin, end in [(-1, 2), (2, 2), (0, 7)]:
        with pytest.raises(LogitCacheError):
            data.slice(begin, end)
    with pytest.raises(LogitCacheError, match="there is no data set 'mnist'"):
        open_data_set("mnist[0:5]")


def test_views_are_checked_against_the_cache(tmp_path):
    data = pictures(6, 5, 1, 10)
    recipe = Recipe({"version": 1, "operations": [{"op": "pad-crop", "pad": 2}, {"op": "cutmix"}]})
    renderer = Renderer(data, recipe, 7)
    document = manifest_document(
        classes=3, recipe=dict(digest=recipe.digest, content=recipe.canonical)
    )
    document["dataSet"]["fingerprint"] = data.fingerprint
    small = SmallCache(document, view_digest=lambda view, samples: renderer.digest(samples, view))
    with logitcache.open(small.write(tmp_path / "right")) as cache:
        check_views(cache, matching_renderer(cache, data), None)
        with pytest.raises(LogitCacheError, match="belongs to data set 'toys'"):
            matching_renderer(cache, data.slice(0, 9))
        other = Renderer(data, recipe, 8)
        with pytest.raises(LogitCacheError, match="block 0 of view 0 .* made from other pixels"):
            check_views(cache, other, 1)
    document["recipe"]["digest"] = "00" * 32
    with logitcache.open(SmallCache(document).write(tmp_path / "wrong")) as cache:
        with pytest.raises(LogitCacheError, match="does not have the digest"):
            matching_renderer(cache, data)


def test_a_cache_of_fewer_classes_is_refused_for_the_data_with_all(tmp_path):
    data = pictures(6, 5, 1, 10)
    document = manifest_document(classes=2, k=2)
    document["dataSet"]["fingerprint"] = data.fingerprint
    with logitcache.open(SmallCache(document).write(tmp_path)) as cache:
        with pytest.raises(LogitCacheError, match="was derived for 2 of the 3 classes"):
            matching_renderer(cache, data)


def test_labels_of_every_position_are_in_the_fingerprint():
    features = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    data = DataSet("tokens", features, np.array([[0, -1, 1], [-100, 1, -7]]), "ab")
    assert data.positions == 3 and data.elements.shape == (2, 6)
    assert data.labels.tolist() == [[0, -1, 1], [-1, 1, -1]]
    # The same data in Tests/DataSetsTests/PositionTests.swift.
    assert data.fingerprint == "6264da2cc239f961e69e5eb0048dfd50cdb8bc887230a6a6bb0b3ec14b5235e8"
    assert data.slice(1, 2).labels.tolist() == [[-1, 1, -1]]
    single = DataSet("one", features.reshape(2, 6), [[0], [1]], "ab")
    assert single.positions == 1
    assert single.fingerprint == DataSet("one", features.reshape(2, 6), [0, 1], "ab").fingerprint


def test_views_that_would_leave_labels_of_positions_wrong_are_refused():
    data = DataSet("lines", np.zeros((2, 4, 6), np.uint8), [[0, -1, 0], [0, 0, 0]], "a")
    Renderer(data, Recipe({"version": 1, "operations": [{"op": "contrast", "amount": 0.5}]}), 1)
    for operation in ("resized-crop", "pad-crop", "flip", "affine", "mixup", "cutmix"):
        with pytest.raises(LogitCacheError, match="3 positions; resized-crop, pad-crop, flip"):
            step = {"op": operation} | ({"pad": 1} if operation == "pad-crop" else {})
            Renderer(data, Recipe({"version": 1, "operations": [step]}), 1)
