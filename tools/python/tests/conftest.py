"""Caches that the Swift program makes; LOGITCACHE_PROGRAM names it."""

import os
import pathlib
import subprocess

import pytest

EXAMPLE = pathlib.Path(__file__).parents[3] / "Examples/fashion-mnist"


@pytest.fixture(scope="session")
def precompute(tmp_path_factory):
    """Makes a cache of a slice of Fashion-MNIST with the example teacher."""
    program = os.environ.get("LOGITCACHE_PROGRAM")
    if not program:
        pytest.skip("LOGITCACHE_PROGRAM does not name the program")

    def make(data: str, recipe: str, *more: str) -> str:
        folder = str(tmp_path_factory.mktemp("cache") / "made")
        subprocess.run(
            [
                program,
                "precompute",
                folder,
                "--data",
                data,
                "--teacher",
                EXAMPLE / "teacher.yaml",
                "--recipe",
                EXAMPLE / f"{recipe}.recipe.yaml",
                *more,
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        return folder

    return make


@pytest.fixture(scope="session")
def full_rows(precompute):
    """All ten logits of two strongly augmented views of 1,024 pictures."""
    return precompute("fashion-mnist/train[0:1024]", "strong", "--views", "2")


@pytest.fixture(scope="session")
def tail_rows(precompute):
    """Three of ten logits exactly, the others on axes, of the pictures of `full_rows`."""
    return precompute(
        *("fashion-mnist/train[0:1024]", "strong", "--views", "2", "--k", "3"),
        *("--tail", "subspace", "--tail-step", "1/4"),
    )


@pytest.fixture(scope="session")
def ranked_rows(precompute):
    """Three of ten logits and the order of all classes, of the pictures of `full_rows`."""
    return precompute(
        *("fashion-mnist/train[0:1024]", "strong", "--views", "2", "--k", "3"),
        *("--ranking", "full"),
    )


@pytest.fixture(scope="session")
def sparse_rows(precompute):
    """Three of ten logits, and features, of three views of 200 pictures."""
    return precompute(
        "fashion-mnist/train[100:300]", "crop-flip", "--views", "3", "--k", "3", "--features"
    )


@pytest.fixture(scope="session")
def text_cache(tmp_path_factory):
    """A folder with texts, and a cache of two views of them."""
    program = os.environ.get("LOGITCACHE_PROGRAM")
    if not program:
        pytest.skip("LOGITCACHE_PROGRAM does not name the program")
    folder = tmp_path_factory.mktemp("texts")
    words = {"de": "GUTEN Morgen, Öl", "ru": "Доброе УТРО, Ёж", "zh": "早上好 文件"}
    lines = [f"{name}\t{text} {i}\n" for i in range(40) for name, text in words.items()]
    (folder / "texts.tsv").write_text("".join(lines), encoding="utf-8")
    written = {
        "data.yaml": "{kind: text, name: t, texts: texts.tsv, classNames: [de, ru, zh], bytes: 24}",
        "training.yaml": "{version: 1, data: data.yaml, model: ngram-64-8, loss: ce, epochs: 1}",
        "teacher.yaml": "{version: 1, kind: native, weights: taught/model.safetensors}",
        "recipe.yaml": "{version: 1, operations: [{op: substring}, {op: lowercase}]}",
    }
    for name, text in written.items():
        (folder / name).write_text(text)
    for arguments in (
        "train training.yaml --out taught",
        "precompute cache --data data.yaml --teacher teacher.yaml --recipe recipe.yaml --views 2",
    ):
        subprocess.run([program, *arguments.split()], cwd=folder, check=True, capture_output=True)
    return folder
