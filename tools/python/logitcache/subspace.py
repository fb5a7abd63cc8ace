"""Full rows from coefficients on a cache's axes (docs/FORMAT.md, 13)."""

import numpy as np

from .canonical import ByteReader
from .errors import demand
from .manifest import Encoding
from .records import Records

_LARGEST_VALUES = 2**28
_LARGEST = np.float32(2**20)
_SMALLEST_SCALE = np.finfo(np.float32).tiny
#: No rebuilt gap is larger, in nats.
_LARGEST_GAP = np.float32(2**19)


class Axes:
    """The axes of a cache's subspace tail.

    `mean` [C] is the row that others differ from, `values` [r, C] are the axes, strongest first;
    both float32, in nats. Coefficients of the first `trellis_axes` went through a trellis.
    """

    def __init__(self, content, encoding: Encoding, what: str):
        """Reads axes; raises LogitCacheError for any that section 13 rejects."""
        reader = ByteReader(content, what)

        def check(condition, fault):
            demand(np.all(condition), f"{what} are damaged: {fault}")

        tail = encoding.subspace_tail
        magic, classes, count, width, self.trellis_axes = reader.unpack("<4sIIHH")
        check(magic == b"LGAS", "they do not begin with LGAS")
        check(classes == encoding.classes, f"they are of {classes} classes")
        check(width == tail.axis_bytes, f"a number takes {width} bytes")
        check(count <= min(tail.maximum_axes, classes), f"they are {count}")
        check(count * classes <= _LARGEST_VALUES, f"they are {count} of {classes} numbers")
        check(self.trellis_axes <= count, f"{self.trellis_axes} of {count} are of a trellis")
        self.mean = np.frombuffer(reader.take(4 * classes), "<f4").astype(np.float32)
        scales = np.frombuffer(reader.take(4 * count), "<f4").astype(np.float32)
        codes = np.frombuffer(reader.take(width * count * classes), f"<i{width}")
        reader.end()
        largest = 2 ** (8 * width - 1) - 1
        check(np.abs(self.mean) <= _LARGEST, "the mean row is out of range")
        check(scales >= _SMALLEST_SCALE, "a scale is out of range")
        check(scales * np.float32(largest) <= _LARGEST, "a scale is out of range")
        check(codes >= -largest, "a number of an axis is out of range")
        self.values = codes.reshape(count, classes).astype(np.float32) * scales[:, None]
        self._step = np.float32(tail.step)

    def __len__(self) -> int:
        return len(self.values)

    def coefficients(self, codes: np.ndarray) -> np.ndarray:
        """The coefficients that stored codes [B, r] stand for, float32, in nats."""
        steps = codes.astype(np.float32)
        states = np.zeros(len(codes), np.int32)
        for axis in range(self.trellis_axes):
            odd = states & 1
            steps[:, axis] += odd / 2
            states = (states >> 1) ^ (5 * odd) ^ (2 * (codes[:, axis] & 1))
        return steps * self._step

    def rebuild(self, records: Records) -> np.ndarray:
        """All logits of records, float32 [B, C]; those of head and label are the stored ones."""
        last = records.gaps[:, -1:]
        gaps = records.row_offsets[:, None] - (records.coefficients @ self.values + self.mean)
        gaps = np.minimum(np.maximum(gaps, last), _LARGEST_GAP)
        gaps[np.arange(len(records)), records.labels] = np.maximum(records.label_gaps, last[:, 0])
        np.put_along_axis(gaps, records.class_ids.astype(np.int64), records.gaps, axis=1)
        return records.largest_logits[:, None] - gaps
