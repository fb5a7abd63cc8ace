"""Foretelling a record's tail from its head, in integers (docs/FORMAT.md, 5)."""

import math

import numpy as np

from .manifest import Encoding


class TailPredictor:
    """Turns log(tail / head) into small differences, and back."""

    def __init__(self, encoding: Encoding, coefficients):
        self._encoding = encoding
        self._coefficients = [np.array(row, np.int64) for row in coefficients]
        steps, tail_steps = encoding.steps_per_nat, encoding.tail_steps_per_nat
        self._weights = []
        for t in encoding.tail_temperatures:
            last = 12 * steps * t.numerator // t.denominator
            scale = t.denominator / (steps * t.numerator)
            self._weights.append(
                np.array([round(2**16 * math.exp(-level * scale)) for level in range(last + 1)])
            )
        self._octaves = np.array([round(tail_steps * o * math.log(2)) for o in range(48)])
        self._eighths = np.array(
            [round(tail_steps * math.log(1 + (m + 0.5) / 256)) for m in range(256)]
        )

    def decode(self, levels: np.ndarray, differences: list[np.ndarray]) -> np.ndarray:
        """Ratios [temperatures, rows] of records with gaps [k, rows], and zigzag integers."""
        return self._run(
            levels,
            len(differences),
            lambda i, prediction: _wrap(prediction + (differences[i] >> 1 ^ -(differences[i] & 1))),
        )[0]

    def encode(self, levels: np.ndarray, ratios: np.ndarray) -> list[np.ndarray]:
        """What `decode` takes."""
        predictions = self._run(levels, len(ratios), lambda i, _: ratios[i])[1]
        differences = [_wrap(r - p) for r, p in zip(ratios, predictions)]
        return [(d << 1 ^ d >> 63) & 2**32 - 1 for d in differences]

    def _run(self, levels: np.ndarray, count: int, ratio_of):
        """Ratios and predictions; `ratio_of(i, prediction)` gives a ratio."""
        k, rows = levels.shape
        last, middle = levels[k - 1], levels[k // 2]
        known = [np.full(rows, self._encoding.tail_steps_per_nat), last, middle]
        ratios, predictions = np.empty((count, rows), np.int64), []
        for i in range(count):
            shift = self._shift(levels, i)
            total = sum(a * x for a, x in zip(self._coefficients[i], known, strict=True))
            prediction = _wrap((total + 2**11 >> 12) - shift)
            predictions.append(prediction)
            ratios[i] = ratio_of(i, prediction)
            known.append(_wrap(ratios[i] + shift))
        return ratios, predictions

    def _shift(self, levels: np.ndarray, i: int) -> np.ndarray:
        """About D times the gap of the last rank over T, plus the log of the head's sum."""
        encoding, weights = self._encoding, self._weights[i]
        t = encoding.tail_temperatures[i]
        total = weights[np.minimum(levels, len(weights) - 1)].sum(axis=0)
        octave = np.frexp(total.astype(np.float64))[1].astype(np.int64) - 1
        below = total >> octave - 8 & 255
        head = self._octaves[octave - 16] + self._eighths[below]
        steps = encoding.steps_per_nat * t.numerator
        return levels[-1] * (encoding.tail_steps_per_nat * t.denominator) // steps + head


def _wrap(values: np.ndarray) -> np.ndarray:
    """To 32 bits, as a signed integer."""
    return values.astype(np.int32).astype(np.int64)
