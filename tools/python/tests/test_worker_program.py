"""The program with Python workers as teachers: the records are what the models say."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import logitcache
from logitcache.views import matching_renderer, open_data_set

ROOT = pathlib.Path(__file__).parents[3]
DATA = "fashion-mnist/train[0:1024]"

FUNCTION = """
import numpy as np


def load(scale):
    weights = np.random.default_rng(1).standard_normal((784, 10)).astype("f4") * scale

    def rows(views):
        print("rows of", len(views))
        return views.reshape(len(views), -1).astype("f4") / 255 @ weights

    return rows, {"weights": "random"}
"""


@pytest.fixture
def work(tmp_path):
    """Makes a cache with a worker; gives its path and what was written to standard error."""
    program = os.environ.get("LOGITCACHE_PROGRAM")
    if not program:
        pytest.skip("LOGITCACHE_PROGRAM does not name the program")

    def make(
        arguments: list[str], parameters: dict, *more: str, data: str = DATA
    ) -> tuple[str, str]:
        teacher = tmp_path / "worker.teacher.yaml"
        command = [sys.executable, "-m", "logitcache.worker", *arguments]
        configuration = {"version": 1, "kind": "worker", "command": command, "batch": 32}
        teacher.write_text(json.dumps({**configuration, "parameters": parameters}))
        cache = str(tmp_path / "cache")
        done = subprocess.run(
            [program, "precompute", cache, "--data", data, "--teacher", teacher, *more],
            env={**os.environ, "PYTHONPATH": str(ROOT / "tools/python")},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return cache, done.stderr

    return make


def test_records_are_the_rows_of_a_function(work, tmp_path):
    (tmp_path / "linear.py").write_text(FUNCTION)
    path, errors = work(
        ["--function", "linear:load"], {"scale": 0.1}, "--views", "2", "--threads", "2"
    )
    assert "worker linear:load: rows of 32" in errors
    weights = np.random.default_rng(1).standard_normal((784, 10)).astype("f4") * 0.1
    with logitcache.open(path) as cache:
        assert cache.verify().digest
        views = matching_renderer(cache, open_data_set(DATA)).render(range(1024), 1).elements
        records = cache.records(range(1024), 1)
        exact = views.reshape(1024, -1).astype("f4") / 255 @ weights
        ordered = np.take_along_axis(exact, records.class_ids.astype(np.int64), 1)
        assert np.abs(records.logits() - ordered).max() < 0.05


TAGGER = """
import torch


class Tagger(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(6, 5)

    def forward(self, tokens):
        return self.head(tokens), tokens.abs().sum(2) > 0


def load():
    torch.manual_seed(1)
    return Tagger()
"""


@pytest.mark.parametrize("by_position", [False, True])
def test_records_are_the_rows_of_a_tagger_at_tokens_that_are_no_padding(
    work, tmp_path, by_position
):
    torch = pytest.importorskip("torch")
    generator = np.random.default_rng(2)
    tokens = generator.standard_normal((300, 7, 6)).astype("f4")
    lengths = generator.integers(1, 8, 300)
    counting = np.arange(7) < lengths[:, None]
    tokens[~counting] = 0
    labels = generator.integers(0, 5, (300, 7) if by_position else 300)
    if by_position:
        counting &= generator.random((300, 7)) < 0.8
        labels[~counting] = -100
    np.save(tmp_path / "tokens.npy", tokens if by_position else tokens.reshape(300, 42))
    np.save(tmp_path / "labels.npy", labels)
    data = {"kind": "arrays", "name": "t", "features": "tokens.npy", "labels": "labels.npy"}
    (tmp_path / "data.yaml").write_text(json.dumps(data | {"classNames": list("abcde")}))
    code = (
        TAGGER
        if by_position
        else TAGGER.replace("(self, tokens):", "(self, views):").replace(
            "        return", "        tokens = views.reshape(-1, 7, 6)\n        return"
        )
    )
    (tmp_path / "tagger.py").write_text(code)
    arguments = ["--torch", "tagger:load", "--positions", "every"]
    path, _ = work(arguments, {}, data=str(tmp_path / "data.yaml"))
    torch.manual_seed(1)
    exact = torch.nn.Linear(6, 5)(torch.from_numpy(tokens)).detach().numpy()
    with logitcache.open(path) as cache:
        assert cache.verify().records == counting.sum()
        records = cache.records(range(300), 0)
        assert np.array_equal(np.stack([records.owners, records.positions]), np.nonzero(counting))
        rows = exact[records.owners, records.positions]
        ordered = np.take_along_axis(rows, records.class_ids.astype(np.int64), 1)
        assert np.abs(records.logits() - ordered).max() < 0.05
        expected = labels[counting] if by_position else labels[records.owners]
        assert np.array_equal(records.labels, expected)


def test_the_example_in_pytorch_says_what_the_native_teacher_says(work, full_rows, tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "resnet.py").write_text((ROOT / "Examples/pytorch/resnet.py").read_text())
    options = ["--input", "nchw", "--mean", "0.286", "--deviation", "0.353"]
    weights = str(ROOT / "Examples/fashion-mnist/teacher.safetensors")
    recipe = str(ROOT / "Examples/fashion-mnist/strong.recipe.yaml")
    path, _ = work(
        ["--torch", "resnet:load", *options], {"weights": weights}, "--features", "--recipe", recipe
    )
    with logitcache.open(path) as mine, logitcache.open(full_rows) as native:
        assert mine.manifest.seed == native.manifest.seed
        one, two = mine.records(range(1024), 0), native.records(range(1024), 0)
        order = np.argsort(one.class_ids, 1), np.argsort(two.class_ids, 1)
        rows = [np.take_along_axis(r.logits(), o, 1) for r, o in zip((one, two), order)]
        assert np.abs(rows[0] - rows[1]).max() < 0.05
        assert (one.feature_norms > 0).all()
