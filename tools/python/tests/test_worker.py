"""The Python worker, spoken to as the program does (docs/WORKER.md)."""

import hashlib
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from worker_process import PACKAGE, TIMEOUT, Worker, views

from logitcache.worker.frames import HEADER, Type

TEACHERS = """
import os
import numpy as np

print("imported")
os.system("echo from a child process")


def sums(scale=1):
    print("made")
    weights = np.arange(1, 4) * scale

    def rows(views):
        print("a batch of", views.shape, views.dtype)
        flat = views.reshape(len(views), -1).astype(np.float64)
        if (flat == 255).all(1).any():
            raise ValueError("too bright")
        return flat.sum(1)[:, None] * weights

    rows.class_names = ["one", "two", "three"]
    return rows, {"weights": "1 2 3"}


class Featured:
    identity = {"name": "featured"}

    def __call__(self, views):
        flat = views.reshape(len(views), -1)
        return flat[:, :2], flat[:, :5]


def anonymous():
    return lambda views: np.zeros((len(views), 2))


def fractions():
    return anonymous(), {"scale": 0.5}


def flat():
    return (lambda views: np.zeros(len(views))), {"name": "flat"}


def broken():
    raise RuntimeError("no weights here")


def module():
    import torch

    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 4))


def pair():
    import torch

    class Pair(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(12, 4)

        def forward(self, views):
            assert len(views) == 8, "batches are full"
            features = views.flatten(1).float() / 255
            return self.layer(features), features

    torch.manual_seed(1)
    return Pair()
"""


def start(folder, *arguments: str, **settings) -> Worker:
    return Worker(folder, TEACHERS, *arguments, **settings)


def test_a_function_gets_bytes_and_its_rows_come_back(tmp_path):
    with start(tmp_path, "--function", "teachers:sums", shape=(1, 7, 1), scale=2) as worker:
        assert worker.welcome["classes"] == 3 and worker.welcome["featureWidth"] == 0
        assert worker.welcome["classNames"] == ["one", "two", "three"]
        batches = [views(seed, count, (1, 7, 1)) for seed, count in enumerate([8, 1, 5])]
        for request, batch in enumerate(batches, 1):
            worker.ask(request, batch)
        for request, batch in enumerate(batches, 1):
            rows, features = worker.answer(request)
            sums = batch.reshape(len(batch), -1).astype(np.float32).sum(1)
            assert np.array_equal(rows, sums[:, None] * [2, 4, 6]) and features.size == 0
        errors = worker.leave()
    # Prints of the module, of its child process and of the function, none among the frames.
    assert "imported" in errors and "from a child process" in errors and "made" in errors
    assert "a batch of (5, 1, 7, 1) uint8" in errors


def test_an_identity_names_code_parameters_and_what_the_function_says(tmp_path):
    with start(tmp_path, "--function", "teachers:sums", scale=2) as worker:
        identity = worker.welcome["identity"]
        assert worker.leave()
    assert identity["weights"] == "1 2 3" and identity["name"] == "teachers:sums"
    assert identity["code"] == hashlib.sha256(TEACHERS.encode()).hexdigest()
    assert identity["parameters"] == '{"scale": 2}' and identity["input"] == "raw"
    assert np.__version__ in identity["runtime"]


def test_features_come_with_rows(tmp_path):
    with start(tmp_path, "--function", "teachers:Featured", shape=(6,)) as worker:
        assert worker.welcome["featureWidth"] == 5
        numbers = np.random.default_rng(1).standard_normal((3, 6)).astype("<f4")
        worker.ask(9, numbers)
        rows, features = worker.answer(9)
        assert np.array_equal(rows, numbers[:, :2]) and np.array_equal(features, numbers[:, :5])


@pytest.mark.parametrize("layout, axes", [("nchw", (0, 3, 1, 2)), ("nhwc", (0, 1, 2, 3))])
def test_images_are_normalised_in_the_layout_that_is_asked_for(tmp_path, layout, axes):
    arguments = ["--input", layout, "--mean", "0.1,0.2,0.3", "--deviation", "0.5"]
    with start(tmp_path, "--function", "teachers:Featured", *arguments) as worker:
        batch = views(3, 4)
        worker.ask(1, batch)
        _, features = worker.answer(1)
    expected = (batch.astype(np.float32) / np.float32(255) - np.float32([0.1, 0.2, 0.3])) / 0.5
    assert np.array_equal(features, expected.transpose(axes).reshape(4, -1)[:, :5])
    assert worker.welcome["identity"]["input"]["mean"] == "0.1 0.2 0.3"


@pytest.mark.parametrize(
    "name, texts",
    [
        ("broken", ["RuntimeError: no weights here", "teachers.py, line"]),
        ("anonymous", ["without identity"]),
        ("fractions", ["identity.scale is 0.5", "write others as text"]),
        ("flat", ["rows of shape [8], [8, classes] is needed"]),
        ("nothing", ["the module teachers has no 'nothing'"]),
        ("sums.rows.x", ["no 'sums.rows.x'"]),
    ],
)
def test_teachers_that_cannot_be_opened_say_why(tmp_path, name, texts):
    with start(tmp_path, "--function", f"teachers:{name}") as worker:
        for text in texts:
            assert text in worker.refusal


def test_a_missing_module_and_a_missing_file_are_named(tmp_path):
    with start(tmp_path, "--function", "nowhere:load") as worker:
        assert "No module named 'nowhere'" in worker.refusal
    with start(tmp_path, "--function", "teachers") as worker:
        assert "'teachers' must read MODULE:FUNCTION" in worker.refusal


def test_an_exception_in_a_batch_is_told_with_its_place(tmp_path):
    with start(tmp_path, "--function", "teachers:sums") as worker:
        worker.ask(1, views(1, 2))
        worker.ask(2, np.full((1, 2, 2, 3), 255, np.uint8))
        worker.answer(1)
        message = worker.error(2)
    assert message.startswith("ValueError: too bright (teachers.py, line "), message


def test_a_worker_ends_when_its_input_does(tmp_path):
    with start(tmp_path, "--function", "teachers:sums") as worker:
        worker.process.stdin.close()
        worker.process.stdin = None
        assert worker.process.wait(TIMEOUT) == 0


@pytest.mark.parametrize(
    "place, content, text",
    [
        (0, b"XCWP", "a frame begins with"),
        (4, struct.pack("<H", 2), "protocol version 2"),
        (6, struct.pack("<H", 7), "unknown type 7"),
        (16, struct.pack("<I", 2**30 + 1), "at most 1073741824"),
        (20, struct.pack("<I", 1), "checksum"),
    ],
)
def test_frames_that_are_none_are_refused(tmp_path, place, content, text):
    with start(tmp_path, "--function", "teachers:sums") as worker:
        payload = struct.pack("<II", 1, 0) + bytes(12)
        header = bytearray(
            HEADER.pack(b"LCWP", 1, Type.BATCH, 1, len(payload), zlib.crc32(payload))
        )
        header[place : place + len(content)] = content
        worker.process.stdin.write(header + payload)
        worker.process.stdin.flush()
        assert text in worker.error(0)


@pytest.mark.parametrize("count, size", [(0, 0), (9, 108), (2, 12), (2, 25)])
def test_batches_of_other_lengths_are_refused(tmp_path, count, size):
    with start(tmp_path, "--function", "teachers:sums") as worker:
        worker.send(Type.BATCH, 1, struct.pack("<II", count, 0), bytes(size))
        assert f"for {count} views of (2, 2, 3)" in worker.error(1)


def test_a_module_is_digested_and_gives_what_it_gives_here(tmp_path):
    torch = pytest.importorskip("torch")
    (tmp_path / "teachers.py").write_text(TEACHERS)
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 4))
    with start(tmp_path, "--torch", "teachers:module", "--input", "nchw") as worker:
        identity = worker.welcome["identity"]
        batch = views(5, 8)
        worker.ask(1, batch)
        rows, _ = worker.answer(1)
    torch.set_num_threads(1)
    inputs = torch.from_numpy((batch / np.float32(255)).transpose(0, 3, 1, 2).copy())
    assert np.array_equal(rows, model(inputs).detach().numpy())
    hasher = hashlib.sha256()
    for name, values in sorted(model.state_dict().items()):
        hasher.update(f"{name} float32 {list(values.shape)}\n".encode() + values.numpy().tobytes())
    assert identity["weights"] == hasher.hexdigest()
    assert identity["runtime"] == f"PyTorch {torch.__version__}" and identity["threads"] == 1


def test_short_batches_of_a_module_are_filled_up(tmp_path):
    pytest.importorskip("torch")
    with start(tmp_path, "--torch", "teachers:pair") as worker:
        assert worker.welcome["featureWidth"] == 12
        batch = views(6, 8)
        worker.ask(1, batch)
        worker.ask(2, batch[:3])
        rows, features = worker.answer(1)
        assert np.array_equal(features, batch.reshape(8, -1) / np.float32(255))
        short = worker.answer(2)
        assert np.array_equal(short[0], rows[:3]) and np.array_equal(short[1], features[:3])


def test_changed_weights_change_the_digest():
    torch = pytest.importorskip("torch")
    from logitcache.worker.pytorch import weights_digest

    layer = torch.nn.Linear(3, 2)
    layer.register_buffer("steps", torch.tensor(7))
    before = weights_digest(layer)
    assert weights_digest(layer.bfloat16()) != before
    layer = layer.float()
    digest = weights_digest(layer)
    layer.steps += 1
    assert weights_digest(layer) != digest


def test_a_missing_package_is_named(tmp_path):
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        with start(tmp_path, "--onnx", "model.onnx") as worker:
            assert "cannot import onnxruntime: install it with" in worker.refusal
    else:
        with start(tmp_path, "--onnx", "model.onnx") as worker:
            assert "cannot read model.onnx" in worker.refusal


def test_the_worker_needs_numpy_alone(tmp_path):
    program = (
        "import sys; sys.modules.update(lmdb=None, zstandard=None);"
        "import logitcache.worker.__main__, logitcache.worker.function;"
        "print(logitcache.LogitCacheError.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "LogitCacheError\n", done.stderr
