"""The frames of the worker protocol, version 1 (docs/WORKER.md)."""

import struct
import zlib
from enum import IntEnum
from typing import BinaryIO, NamedTuple

from ..errors import LogitCacheError, demand

MAGIC = b"LCWP"
VERSION = 1
# Of a payload, in bytes.
LIMIT = 1 << 30
# Magic, version, type, request, length, CRC-32.
HEADER = struct.Struct("<4sHHQII")


class Type(IntEnum):
    """What a frame carries."""

    HELLO = 1
    WELCOME = 2
    BATCH = 3
    LOGITS = 4
    ERROR = 5
    GOODBYE = 6


class Frame(NamedTuple):
    """A frame that was read; its payload may be written to."""

    type: Type
    request: int
    payload: bytearray


def read_frame(stream: BinaryIO) -> Frame | None:
    """The next frame; None at the end of the stream.

    Raises LogitCacheError when what comes is no frame, or ends within one.
    """
    header = _read(stream, HEADER.size)
    if not header:
        return None
    demand(len(header) == HEADER.size, f"the stream ends after {len(header)} bytes of a header")
    magic, version, kind, request, length, stored = HEADER.unpack(header)
    demand(magic == MAGIC, f"a frame begins with {magic!r}, it must be {MAGIC!r}")
    demand(version == VERSION, f"a frame of protocol version {version}; this is version {VERSION}")
    demand(length <= LIMIT, f"a frame of {length} bytes, at most {LIMIT} are allowed")
    payload = _read(stream, length)
    demand(len(payload) == length, f"the stream ends after {len(payload)} of {length} bytes")
    computed = zlib.crc32(payload)
    demand(computed == stored, f"a frame's checksum is {computed:#010x}, {stored:#010x} was sent")
    try:
        return Frame(Type(kind), request, payload)
    except ValueError:
        raise LogitCacheError(f"a frame of the unknown type {kind}") from None


def write_frame(stream: BinaryIO, kind: Type, request: int, *parts) -> None:
    """Writes a frame whose payload is `parts` (anything with bytes), and flushes."""
    views = [memoryview(part).cast("B") for part in parts if memoryview(part).nbytes]
    length = sum(view.nbytes for view in views)
    demand(length <= LIMIT, f"an answer of {length} bytes, at most {LIMIT} are allowed")
    checksum = 0
    for view in views:
        checksum = zlib.crc32(view, checksum)
    stream.write(HEADER.pack(MAGIC, VERSION, kind, request, length, checksum))
    for view in views:
        stream.write(view)
    stream.flush()


def _read(stream: BinaryIO, count: int) -> bytearray:
    """`count` bytes; fewer at the end of the stream."""
    content = bytearray(count)
    view, filled = memoryview(content), 0
    while filled < count:
        got = stream.readinto(view[filled:])
        if not got:
            break
        filled += got
    view.release()
    del content[filled:]
    return content
