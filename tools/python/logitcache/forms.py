"""Lists of integers as bytes: bits, buckets, and the forms of a piece (docs/FORMAT.md, 1, 5)."""

import heapq

import numpy as np

from .errors import demand

BUCKETS, PLAIN = 0, 16
CODES = (1, 2, 4)
FORMS = (BUCKETS, *CODES, PLAIN)
_LARGEST = 2**32 - 1
_WIDEST = 32

_NUMBERS = np.arange(128)
_BUCKET_WIDTHS = np.where(_NUMBERS < 16, 0, _NUMBERS // 4 - 2)
_BUCKET_STARTS = np.where(_NUMBERS < 16, _NUMBERS, (4 + _NUMBERS % 4) << _BUCKET_WIDTHS)


# Bits


def bits_length(count) -> int:
    """The bytes that hold `count` bits."""
    return -(-int(count) // 8)


def unpack_bits(content, count: int, widths, what: str) -> np.ndarray:
    """`count` integers of one width, or of one width each (at most 32), low bits first."""
    widths = np.broadcast_to(np.asarray(widths, np.int64), count)
    ends = np.cumsum(widths)
    total = int(ends[-1]) if count else 0
    demand(len(content) == bits_length(total), f"{what} is damaged: its bits have another length")
    fill = -total % 8
    demand(
        fill == 0 or content[-1] >> (8 - fill) == 0,
        f"{what} is damaged: bits are set after the end",
    )
    padded = np.frombuffer(bytes(content) + bytes(8), np.uint8)
    # All runs of eight bytes, as integers; an integer starts in the first byte of its run.
    runs = np.ndarray(len(padded) - 7, "<u8", padded, strides=(1,))
    starts = ends - widths
    values = runs[starts >> 3] >> (starts & 7).astype(np.uint64)
    return values.astype(np.int64) & ((1 << widths) - 1)


def pack_bits(values: np.ndarray, widths) -> bytes:
    """Integers of one width, or of one width each, as bits."""
    widths = np.broadcast_to(np.asarray(widths, np.int64), len(values))
    starts = np.cumsum(widths) - widths
    within = np.arange(int(widths.sum())) - np.repeat(starts, widths)
    return np.packbits(np.repeat(values, widths) >> within & 1, bitorder="little").tobytes()


# Reading


class PieceReader:
    """Reads a plane's pieces one after the other."""

    def __init__(self, content: memoryview, what: str):
        self.content = content
        self.what = what

    def take(self, count: int) -> memoryview:
        """The next bytes."""
        demand(count <= len(self.content), f"{self.what} is damaged: it ends too early")
        part, self.content = self.content[:count], self.content[count:]
        return part

    def end(self) -> None:
        """Raises unless everything was read."""
        demand(len(self.content) == 0, f"{self.what} is damaged: bytes follow its end")

    def integers(self, count: int, form: int, width: int) -> np.ndarray:
        """`count` integers below 2^32 in a form; the width belongs to form 16."""
        demand(
            width <= _WIDEST if form == PLAIN else width == 0,
            f"{self.what} is damaged: it has the width {width}",
        )
        if form == PLAIN:
            return self._bits(count, width)
        if form == BUCKETS:
            return self._buckets(count)
        demand(form in CODES, f"{self.what} is damaged: it has form {form}")
        values = self._bits(count, form)
        full = np.flatnonzero(values == (1 << form) - 1)
        values[full] += self._buckets(len(full))
        demand(np.all(values <= _LARGEST), f"{self.what} is damaged: an integer is too large")
        return values

    def _bits(self, count: int, width: int) -> np.ndarray:
        return unpack_bits(self.take(bits_length(count * width)), count, width, self.what)

    def _buckets(self, count: int) -> np.ndarray:
        numbers = np.frombuffer(self.take(count), np.uint8)
        demand(np.all(numbers < 128), f"{self.what} is damaged: it has a bucket above 127")
        widths = _BUCKET_WIDTHS[numbers]
        rest = self.take(bits_length(widths.sum()))
        return _BUCKET_STARTS[numbers] + unpack_bits(rest, count, widths, self.what)


# Writing


def write_integers(values: np.ndarray, among=FORMS) -> tuple[int, int, bytes]:
    """Form, width and bytes of integers: the form with the fewest bits, the first among equals."""
    values = values.ravel()
    width = int(values.max(initial=0)).bit_length()
    choices = [_write_buckets(values)]
    for form in CODES:
        top = (1 << form) - 1
        codes = pack_bits(np.minimum(values, top), form)
        bits, _, _, rest = _write_buckets(values[values >= top] - top)
        choices.append((prefix_code_bits(codes) + bits, form, 0, codes + rest))
    choices.append((len(values) * width, PLAIN, width, pack_bits(values, width)))
    choices = [choice for choice in choices if choice[1] in among]
    return min(choices, key=lambda choice: choice[:2])[1:]


def _write_buckets(values: np.ndarray) -> tuple[int, int, int, bytes]:
    octaves = np.frexp(values.astype(np.float64))[1].astype(np.int64) - 1
    shifts = np.maximum(octaves - 2, 0)
    numbers = np.where(values < 16, values, 4 * (shifts + 2) + (values >> shifts & 3))
    numbers = numbers.astype(np.uint8)
    widths = _BUCKET_WIDTHS[numbers]
    rest = pack_bits(values - _BUCKET_STARTS[numbers], widths)
    bits = prefix_code_bits(numbers.tobytes()) + int(widths.sum())
    return bits, BUCKETS, 0, numbers.tobytes() + rest


def prefix_code_bits(content: bytes) -> int:
    """The bits of bytes in an optimal prefix code for them, and four for every different byte.

    0 for fewer than two different ones.
    """
    counts = np.bincount(np.frombuffer(content, np.uint8))
    heap = counts[counts > 0].tolist()
    heapq.heapify(heap)
    bits = 4 * len(heap) if len(heap) > 1 else 0
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        bits += joined
        heapq.heappush(heap, joined)
    return bits
