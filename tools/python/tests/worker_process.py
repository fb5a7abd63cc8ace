"""A worker process and the program's side of the conversation with it."""

import json
import os
import pathlib
import struct
import subprocess
import sys

import numpy as np

from logitcache.worker.frames import Type, read_frame, write_frame

PACKAGE = pathlib.Path(__file__).parents[1]
TIMEOUT = 120


class Worker:
    """A worker process as the program has it; `code` is that of its module `teachers`."""

    def __init__(
        self, folder, code: str, *arguments: str, shape=(2, 2, 3), batch=8, labels=1, **parameters
    ):
        (folder / "teachers.py").write_text(code)
        self.shape, self.dtype = shape, np.dtype("<f4" if len(shape) == 1 else "u1")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "logitcache.worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        )
        kind = "features" if len(shape) == 1 else "image"
        hello = {
            "batch": batch,
            "classNames": ["a", "b"],
            "classes": 2,
            "input": {"kind": kind, "shape": shape, "type": self.dtype.name},
            "parameters": parameters,
            "positions": labels,
        }
        self.send(Type.HELLO, 0, json.dumps(hello).encode())
        self.first = read_frame(self.process.stdout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    @property
    def welcome(self) -> dict:
        assert self.first.type == Type.WELCOME, self.first.payload.decode()
        return json.loads(self.first.payload)

    @property
    def refusal(self) -> str:
        assert self.first.type == Type.ERROR, self.first
        assert self.process.wait(TIMEOUT) == 1
        return self.first.payload.decode()

    def send(self, kind: Type, request: int, *parts):
        write_frame(self.process.stdin, kind, request, *parts)

    def ask(self, request: int, views: np.ndarray):
        self.send(Type.BATCH, request, struct.pack("<II", len(views), 0), views.astype(self.dtype))

    def answer(self, request: int):
        """Rows and features."""
        frame = read_frame(self.process.stdout)
        assert frame.type == Type.LOGITS, frame.payload.decode()
        assert frame.request == request
        count, positions, classes, width = struct.unpack_from("<IIII", frame.payload)
        values = np.frombuffer(frame.payload, "<f4", offset=16)
        assert positions == 1 and len(values) == count * (classes + width)
        return (
            values[: count * classes].reshape(count, classes),
            values[count * classes :].reshape(count, width),
        )

    def error(self, request: int) -> str:
        frame = read_frame(self.process.stdout)
        assert frame.type == Type.ERROR and frame.request == request
        assert self.process.wait(TIMEOUT) == 1
        return frame.payload.decode()

    def leave(self) -> str:
        """Says goodbye; gives what the worker wrote to standard error."""
        self.send(Type.GOODBYE, 0)
        _, errors = self.process.communicate(timeout=TIMEOUT)
        assert self.process.returncode == 0
        return errors.decode()


def views(seed: int, count: int, shape=(2, 2, 3)) -> np.ndarray:
    """Random pictures, none of which is white."""
    return np.random.default_rng(seed).integers(0, 255, (count, *shape), np.uint8)
