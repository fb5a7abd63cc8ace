"""The worker's side of the conversation: hello, welcome, batches, goodbye."""

import json
import math
import os
import queue
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from ..errors import LogitCacheError, demand
from .frames import Frame, Type, read_frame, write_frame
from .positions import Positions

OUTPUTS = ("logits", "log-probabilities", "probabilities", "sigmoid")
# Count of views, 0.
BATCH = struct.Struct("<II")
# Count of views, positions, classes, width of features.
LOGITS = struct.Struct("<IIII")
# Batches that are read while one is computed.
AHEAD = 2


@dataclass(frozen=True)
class Hello:
    """What the program asks for."""

    # Of one view: [height, width, channels] of an image, [width] of features, [bytes] of a text;
    # of features with a label for each of several positions [positions, width].
    shape: tuple[int, ...]
    dtype: np.dtype
    is_image: bool
    # The most views of a batch.
    batch: int
    # The data set's classes.
    class_names: list[str] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def parse(payload) -> "Hello":
        """Reads the payload of a hello."""
        try:
            value = json.loads(payload.decode())
            kind = value["input"]
            shape = tuple(int(length) for length in kind["shape"])
            labels = int(value.get("positions", 1))
            if kind["kind"] == "features" and labels > 1:
                shape = (labels, shape[0] // labels)
            return Hello(
                shape=shape,
                dtype=np.dtype({"uint8": "u1", "float32": "<f4"}[kind["type"]]),
                is_image=kind["kind"] == "image",
                batch=int(value["batch"]),
                class_names=value["classNames"],
                parameters=value["parameters"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise LogitCacheError(f"the program's hello cannot be read: {error!r}") from None


@dataclass
class Teacher:
    """A model that is ready."""

    # Decides the rows; numbers with fractions as text.
    identity: dict[str, Any]
    # From an array [n, ...shape] to rows [n, C], or to a pair of rows and features [n, D]; with
    # `positions` to rows [n, T, C], or to a pair of rows and which of them count (Positions.rows).
    run: Callable[[np.ndarray], Any]
    # What rows are, one of OUTPUTS.
    output: str = "logits"
    class_names: list[str] | None = None
    # Whether `run` always gets full batches, short ones filled up with zeros.
    fills_batches: bool = False
    # Which of several rows of a view are recorded; None for one row a view.
    positions: Positions | None = None


def claim_streams() -> tuple[BinaryIO, BinaryIO]:
    """Takes standard input and output for frames; prints go to standard error from now on.

    Call it before anything that may print, also from C.
    """
    sys.stdout.flush()
    # Input is not buffered: the thread that reads it may be waiting when the interpreter ends.
    source, target = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb")
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)
    return source, target


def serve(
    open_teacher: Callable[[Hello], Teacher], streams: tuple[BinaryIO, BinaryIO] | None = None
) -> int:
    """Serves a teacher until the program says goodbye or ends; gives the exit code."""
    source, target = streams or claim_streams()
    frames: queue.Queue[Frame | Exception | None] = queue.Queue(AHEAD)
    threading.Thread(target=_read_all, args=(source, frames), daemon=True).start()
    try:
        first = _next(frames)
        if first is None:
            return 0
        demand(first.type == Type.HELLO, f"the program begins with {first.type.name}, not HELLO")
        rows = _Rows(open_teacher, Hello.parse(first.payload))
        write_frame(target, Type.WELCOME, 0, json.dumps(rows.welcome).encode())
    except BrokenPipeError:
        return 0
    except Exception as error:
        return _fail(target, 0, error)
    while True:
        request = 0
        try:
            frame = _next(frames)
            if frame is None or frame.type == Type.GOODBYE:
                return 0
            demand(frame.type == Type.BATCH, f"a {frame.type.name} in the place of a BATCH")
            request = frame.request
            write_frame(target, Type.LOGITS, request, *rows.answer(frame.payload))
        except BrokenPipeError:
            return 0
        except Exception as error:
            return _fail(target, request, error)


class _Rows:
    """Runs a teacher over batches and checks what it gives."""

    def __init__(self, open_teacher: Callable[[Hello], Teacher], hello: Hello):
        self.hello = hello
        self.teacher = open_teacher(hello)
        demand(
            self.teacher.output in OUTPUTS,
            f"the output is {self.teacher.output!r}, it must be one of {', '.join(OUTPUTS)}",
        )
        # What a run on zeros gives tells positions, classes and features.
        self.shape = self.width = None
        self.ragged = False
        views = np.zeros((hello.batch, *hello.shape), hello.dtype)
        if self._has_one_row:
            rows, features = self._run(views)
            self.shape, self.width = rows.shape[1:], features.shape[1]
        else:
            rows, mask = self._run_positions(views)
            self.shape, self.width, self.ragged = rows.shape[1:], 0, mask is not None
        self.positions, self.classes = (1, *self.shape)[-2:]
        identity = dict(self.teacher.identity)
        if self.teacher.positions is not None:
            demand(
                "positions" not in identity,
                "an identity has no member positions: the worker adds it",
            )
            identity["positions"] = self.teacher.positions.identity
        self.welcome = {
            "classes": self.classes,
            "featureWidth": self.width,
            "identity": identity,
            "output": self.teacher.output,
            "positions": self.positions,
            "ragged": self.ragged,
        }
        _demand_whole(self.teacher.identity, "identity")
        names = self.teacher.class_names
        removed = self.teacher.positions and self.teacher.positions.removed
        if names is not None:
            classes = self.classes + (removed is not None)
            demand(
                len(names) == classes, f"class_names has {len(names)} names for {classes} classes"
            )
            kept = [str(name) for index, name in enumerate(names) if index != removed]
            self.welcome["classNames"] = kept

    @property
    def _has_one_row(self) -> bool:
        return self.teacher.positions is None or self.teacher.positions.single

    def answer(self, payload: bytearray) -> tuple:
        """The parts of the answer to a batch."""
        size = self.hello.dtype.itemsize * math.prod(self.hello.shape)
        count, _ = BATCH.unpack_from(payload) if len(payload) >= BATCH.size else (0, 0)
        demand(
            1 <= count <= self.hello.batch and len(payload) == BATCH.size + count * size,
            f"a batch of {len(payload)} bytes for {count} views of {self.hello.shape}",
        )
        views = np.frombuffer(payload, self.hello.dtype, offset=BATCH.size)
        views = views.reshape(count, *self.hello.shape)
        missing = self.hello.batch - count
        if self.teacher.fills_batches and missing:
            views = np.concatenate([views, np.zeros((missing, *self.hello.shape), views.dtype)])
        head = LOGITS.pack(count, self.positions, self.classes, self.width)
        if self._has_one_row:
            rows, features = self._run(views)
            return head, rows[:count], features[:count]
        rows, mask = self._run_positions(views)
        if mask is None:
            return head, rows[:count]
        rows, mask = rows[:count], mask[:count]
        return head, mask.sum(1).astype("<u4"), np.nonzero(mask)[1].astype("<u4"), rows[mask]

    def _run(self, views: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows [n, C] and features [n, D], little-endian float32 and contiguous."""
        given = self.teacher.run(views)
        count = len(views)
        if self.teacher.positions is not None:
            given = self.teacher.positions.best(given, count, self.teacher.output)
        rows, features = given if isinstance(given, tuple) else (given, None)
        demand(
            np.ndim(rows) != 3, "rows of several positions: say with --positions which are recorded"
        )
        rows = _matrix(rows, count, self.shape and self.shape[0], "rows")
        demand(rows.shape[1] >= 2, f"rows of {rows.shape[1]} classes, there must be two or more")
        if features is None:
            demand(not self.width, "no features, though there were some before")
            return rows, np.zeros((count, 0), "<f4")
        return rows, _matrix(features, count, self.width, "features")

    def _run_positions(self, views: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Rows [n, T, C], little-endian float32, and which are recorded [n, T]; None for all."""
        given = self.teacher.run(views)
        rows, mask = self.teacher.positions.rows(given, len(views))
        demand(
            self.shape in (None, rows.shape[1:]),
            f"rows of {list(rows.shape[1:])} positions and classes, before it was {self.shape}",
        )
        demand(
            self.shape is None or self.ragged == (mask is not None),
            "a mask or lengths come with all rows or with none",
        )
        return np.ascontiguousarray(rows, "<f4"), mask


def _matrix(values, count: int, width: int | None, what: str) -> np.ndarray:
    """An array [count, width] as little-endian float32."""
    values = np.asarray(values)
    demand(
        values.ndim == 2 and len(values) == count and width in (None, values.shape[1]),
        f"{what} of shape {list(values.shape)}, [{count}, {'classes' if width is None else width}]"
        " is needed",
    )
    return np.ascontiguousarray(values, "<f4")


def _demand_whole(value, place: str) -> None:
    """Refuses what an identity cannot hold."""
    if isinstance(value, dict):
        for name, member in value.items():
            demand(isinstance(name, str), f"{place} has the name {name!r}, which is not text")
            _demand_whole(member, f"{place}.{name}")
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            _demand_whole(member, f"{place}[{index}]")
    else:
        demand(
            value is None or isinstance(value, str | bool | int),
            f"{place} is {value!r}: an identity holds text and whole numbers; write others as text",
        )


def _read_all(source: BinaryIO, frames: queue.Queue) -> None:
    """Reads frames while others are computed."""
    while True:
        try:
            frame = read_frame(source)
        except (LogitCacheError, OSError) as error:
            frame = error
        frames.put(frame)
        if not isinstance(frame, Frame):
            return


def _next(frames: queue.Queue) -> Frame | None:
    frame = frames.get()
    if isinstance(frame, Exception):
        raise frame
    return frame


def _fail(target: BinaryIO, request: int, error: Exception) -> int:
    """Says what is wrong, and that the worker ends."""
    try:
        write_frame(target, Type.ERROR, request, sentence(error).encode())
    except OSError:
        return 0
    return 1


def sentence(error: Exception) -> str:
    """What an exception says and where it was raised; refusals as they are."""
    if isinstance(error, LogitCacheError):
        return str(error)
    traceback.print_exception(error)
    text = "".join(traceback.format_exception_only(error)).strip()
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return text
    return f"{text} ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno})"
