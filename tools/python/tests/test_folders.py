"""Picture files: golden pixels, and the same views as the Swift program's."""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess

import numpy as np
import pytest

import logitcache
from logitcache import LogitCacheError
from logitcache.views import (
    Recipe,
    Renderer,
    check_views,
    matching_renderer,
    open_data_set,
    read_texts,
)
from logitcache.views.folders import _digest, decode

pytest.importorskip("PIL")
pytest.importorskip("yaml")

PICTURES = pathlib.Path(__file__).parents[3] / "Tests/Pictures"
GOLDEN = json.loads((PICTURES / "golden.json").read_text())

DESCRIPTION = """
kind: folder
name: pictures
path: {path}
size: {{height: 12, width: 10}}
{rest}
"""


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_files_decode_to_their_golden_pixels(name):
    format, pixels = decode(str(PICTURES / name))
    assert format == ("png" if name.endswith(".png") else "jpeg")
    assert list(pixels.shape) == GOLDEN[name]["shape"]
    assert _digest(pixels).hex() == GOLDEN[name]["digest"]


def test_damaged_files_are_refused(tmp_path):
    whole = (PICTURES / "rgb-8.png").read_bytes()
    for wrong in (b"", b"GIF89a", whole[:100], whole[:60] + b"\0" + whole[61:]):
        (tmp_path / "a.png").write_bytes(wrong)
        with pytest.raises(LogitCacheError, match="cannot decode"):
            decode(str(tmp_path / "a.png"))
    with pytest.raises(LogitCacheError, match="cannot decode"):
        decode(str(tmp_path / "absent.png"))


def copy_pictures(folder: pathlib.Path) -> None:
    """Puts all pictures into the classes png and jpeg of `folder/pictures`."""
    for name in GOLDEN:
        place = folder / "pictures" / ("png" if name.endswith(".png") else "jpeg")
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(PICTURES / name, place / name)


def empty_index() -> bytes:
    """An index of the program's decoders that knows no picture."""
    decoders = "libjpeg-turbo 2.1.5, islow, fancy upsampling\tlibpng 1.6.39"
    index = f"logitcache image index 1\t{decoders}\n".encode()
    return index + f"end\t{hashlib.sha256(index).hexdigest()}\n".encode()


def test_a_named_pipe_is_refused_and_never_waited_for(tmp_path):
    copy_pictures(tmp_path)
    pipe = tmp_path / "pictures/png/pipe.png"
    os.mkfifo(pipe)
    data = tmp_path / "data.yaml"
    (tmp_path / "data.yaml.index").write_bytes(empty_index())
    data.write_text(DESCRIPTION.format(path="pictures", rest=""))
    with pytest.raises(LogitCacheError, match="png/pipe.png is no picture of a class"):
        open_data_set(str(data))
    (tmp_path / "list.tsv").write_text("pictures/png/rgb-8.png\ta\npictures/png/pipe.png\tb\n")
    data.write_text(DESCRIPTION.format(path="list.tsv", rest=""))
    with pytest.raises(LogitCacheError, match="pipe.png: it is not a regular file"):
        open_data_set(str(data))
    with pytest.raises(LogitCacheError, match="pipe.png: it is not a regular file"):
        read_texts("texts", [pipe], ["a", "b"])


def test_fingerprint_and_views_are_the_frozen_ones(tmp_path):
    # The same numbers stand in ImageFolderTests.swift and FolderViewTests.swift.
    copy_pictures(tmp_path)
    data = tmp_path / "data.yaml"
    data.write_text(DESCRIPTION.format(path="pictures", rest=""))
    (tmp_path / "data.yaml.index").write_bytes(empty_index())
    samples = open_data_set(str(data))
    assert samples.fingerprint == FROZEN_FINGERPRINT
    operations = [{"op": "resized-crop"}, {"op": "flip"}, {"op": "cutmix"}]
    renderer = Renderer(samples, Recipe({"version": 1, "operations": operations}), 4)
    assert renderer.digest(range(32), 2) == FROZEN_VIEWS


FROZEN_FINGERPRINT = "992e1187da857de161247e35d1222dec73c6e702f1d768b5c8846bc62255595d"
FROZEN_VIEWS = "e295f7cd85000dfd8f13ac260075cad474bd8d4522ebb6339781a29cb7287668"


@pytest.fixture
def album(tmp_path):
    """A folder with all pictures in the classes png and jpeg, and the program."""
    program = os.environ.get("LOGITCACHE_PROGRAM")
    if not program:
        pytest.skip("LOGITCACHE_PROGRAM does not name the program")
    copy_pictures(tmp_path)

    def make(recipe: str, rest: str = "", path: str = "pictures") -> tuple[str, str]:
        """The paths of a description and of a cache of three views."""
        data = tmp_path / "data.yaml"
        data.write_text(DESCRIPTION.format(path=path, rest=rest))
        (tmp_path / "recipe.yaml").write_text(f"version: 1\noperations: [{recipe}]\n")
        (tmp_path / "training.yaml").write_text(
            f"version: 1\ndata: {data}\nmodel: mlp-16\nloss: ce\nepochs: 1\nbatch: 8\n"
        )
        (tmp_path / "teacher.yaml").write_text(
            "{version: 1, kind: native, weights: taught/model.safetensors, batch: 8}"
        )

        def run(*arguments):
            command = [program, *arguments]
            subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)

        shutil.rmtree(tmp_path / "taught", ignore_errors=True)
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        run("train", "training.yaml", "--out", "taught")
        run(
            *("precompute", "cache", "--data", str(data), "--teacher", "teacher.yaml"),
            *("--recipe", "recipe.yaml", "--views", "3"),
        )
        return str(data), str(tmp_path / "cache")

    return make


@pytest.mark.parametrize(
    "recipe, rest",
    [
        ("", ""),
        ("", "channels: 1"),
        ("{op: resized-crop}, {op: flip}", ""),
        ("{op: resized-crop, area: [0.01, 0.3], ratio: [0.2, 7]}", "channels: 1"),
        ("{op: resized-crop, area: [0.9, 1]}, {op: cutmix}", "classNames: [png, jpeg]"),
        ("{op: flip}, {op: mixup}", "first: 20"),
    ],
)
def test_views_of_picture_files_are_the_programs(album, recipe, rest):
    data, cache = album(recipe, rest)
    samples = open_data_set(data)
    with logitcache.open(cache) as opened:
        check_views(opened, matching_renderer(opened, samples), None)
        assert np.array_equal(opened.records(range(len(samples)), 1).labels, samples.labels)


def test_a_list_and_a_range_are_the_programs(album, tmp_path):
    lines = [
        f"pictures/{'png' if n.endswith('.png') else 'jpeg'}/{n}\t{n[0]}" for n in sorted(GOLDEN)
    ]
    (tmp_path / "list.tsv").write_text("\n".join(lines))
    data, cache = album("{op: resized-crop}", path="list.tsv")
    samples = open_data_set(data)
    assert samples.class_names == ("c", "g", "i", "o", "p", "r", "t")
    with logitcache.open(cache) as opened:
        check_views(opened, matching_renderer(opened, samples), None)
        part = open_data_set(data + "[3:9]")
        assert len(part) == 6 and part.fingerprint != samples.fingerprint
        with pytest.raises(LogitCacheError, match="belongs to data set"):
            matching_renderer(opened, part)


def test_changed_files_and_damaged_indexes_are_refused(album, tmp_path):
    data, cache = album("")
    samples = open_data_set(data)
    place = tmp_path / "pictures/png/rgb-8.png"
    shutil.copy(PICTURES / "rgb-gamma.png", place)
    with pytest.raises(LogitCacheError, match="rgb-8.png does not decode to the picture"):
        Renderer(samples, Recipe({"version": 1, "operations": []}), 1).render(range(32), 0)
    assert open_data_set(data).fingerprint != samples.fingerprint
    shutil.copy(PICTURES / "rgb-8.png", place)  # another time: it is decoded, and is the same
    assert open_data_set(data).fingerprint == samples.fingerprint
    index = tmp_path / "data.yaml.index"
    content = index.read_bytes()
    index.write_bytes(content[:100] + b"x" + content[101:])
    with pytest.raises(LogitCacheError, match="is damaged"):
        open_data_set(data)
    index.unlink()
    with pytest.raises(LogitCacheError, match="the program writes when it first opens"):
        open_data_set(data)


@pytest.mark.parametrize(
    "text, reason",
    [
        ("kind: idx", "no description of kind 'folder'"),
        ("kind: folder\nname: a\npath: p", "must have the members"),
        ("kind: folder\nname: a\npath: p\nsize: {height: 0, width: 2}", "must have the members"),
        ("kind: folder\nname: a\npath: p\nsize: {height: 1, width: 2}\nx: 1", "unknown members x"),
        ("kind: folder\nname: a\npath: p\nsize: {height: 1, width: 2}", "cannot read .*p"),
    ],
)
def test_wrong_descriptions_are_refused(tmp_path, text, reason):
    (tmp_path / "d.yaml").write_text(text)
    with pytest.raises(LogitCacheError, match=reason):
        open_data_set(str(tmp_path / "d.yaml"))
