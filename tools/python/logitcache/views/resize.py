"""Cutting and resizing pictures of any size, in integers (docs/VIEWS.md, "Pictures in files")."""

import numpy as np

from .operations import root
from .philox import Draws
from .recipe import ONE, Operation

# round(2^30 * 2^(2^-i)) for i from 1 to 16.
_POWERS = (
    *(1518500250, 1276901417, 1170923762, 1121280436, 1097253708, 1085434106, 1079572136),
    *(1076653033, 1075196443, 1074468888, 1074105294, 1073923544, 1073832680, 1073787251),
    *(1073764537, 1073753181),
)


def logarithm(value: int) -> int:
    """65536 times the binary logarithm of value / 65536."""
    exponent = value.bit_length() - 1
    mantissa = value << 30 >> exponent
    result = exponent - 16 << 16
    for bit in reversed(range(16)):
        mantissa = mantissa * mantissa >> 30
        if mantissa >= 1 << 31:
            mantissa >>= 1
            result += 1 << bit
    return result


def power(exponents: np.ndarray) -> np.ndarray:
    """65536 times 2 to the power of exponent / 65536."""
    value = np.full_like(exponents, 1 << 30)
    for index, factor in enumerate(_POWERS):
        chosen = exponents >> 15 - index & 1 == 1
        value = np.where(chosen, value * factor + (1 << 29) >> 30, value)
    shift = 14 - (exponents >> 16)
    return value + (1 << shift - 1) >> shift


def centre_boxes(sizes: np.ndarray, height: int, width: int) -> np.ndarray:
    """The largest parts in the middle with the proportions of height and width.

    Sizes are heights and widths, [B, 2]; parts are top, left, height and width, [B, 4].
    """
    tall, wide = sizes.T
    wider = wide * height > tall * width
    box_wide = np.where(wider, np.maximum(1, (tall * width + height // 2) // height), wide)
    box_tall = np.where(wider, tall, np.maximum(1, (wide * height + width // 2) // width))
    return _centred(sizes, box_tall, box_wide)


def _centred(sizes: np.ndarray, tall, wide) -> np.ndarray:
    tall, wide = np.minimum(tall, sizes[:, 0]), np.minimum(wide, sizes[:, 1])
    return np.stack([(sizes[:, 0] - tall) // 2, (sizes[:, 1] - wide) // 2, tall, wide], axis=1)


def random_boxes(sizes: np.ndarray, operation: Operation, draws: Draws) -> np.ndarray:
    """The first of ten random parts that fits into each picture, else one in the middle."""
    (least, greatest), limits = operation["ratio"], operation["area"]
    logarithms = logarithm(least), logarithm(greatest)
    tall, wide = sizes.T
    found = np.zeros(len(sizes), bool)
    box = np.zeros((2, len(sizes)), np.int64)
    for _ in range(10):
        area = draws.between(*limits) * tall * wide
        side = root(area * power(draws.between(*logarithms)))
        new = np.stack([(area + side // 2) // np.maximum(1, side), side + 32768 >> 16])
        fits = (new >= 1).all(0) & (new <= sizes.T).all(0)
        box = np.where(fits & ~found, new, box)
        found |= fits
    top, left = draws.below(tall - box[0] + 1), draws.below(wide - box[1] + 1)
    narrow, broad = wide * ONE < least * tall, wide * ONE > greatest * tall
    rest = _centred(
        sizes,
        np.where(narrow, np.maximum(1, (wide * ONE + least // 2) // least), tall),
        np.where(~narrow & broad, np.maximum(1, tall * greatest + 32768 >> 16), wide),
    )
    return np.where(found[:, None], np.stack([top, left, *box], axis=1), rest)


def weights(old: int, new: int) -> np.ndarray:
    """How much each old place counts for each new one, in 65536ths, [new, old]."""
    centres = (2 * np.arange(new) + 1) * old
    places = (2 * np.arange(old) + 1) * new
    heights = np.maximum(0, 2 * max(old, new) - np.abs(places - centres[:, None]))
    sums = np.cumsum(heights, axis=1)
    totals = sums[:, -1:]
    return np.diff((sums * ONE + totals // 2) // totals, axis=1, prepend=0)


def resize(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture [h, w, c] in another size: columns first, then rows."""
    for new in (height, width):
        # Products and sums are whole and below 2^24: exact in float32, in any order.
        old, other, channels = picture.shape
        mixed = weights(old, new).astype(np.float32) @ picture.reshape(old, -1).astype(np.float32)
        mixed = mixed.astype(np.int32) + 32768 >> 16
        picture = mixed.astype(np.uint8).reshape(new, other, channels).transpose(1, 0, 2)
    return np.ascontiguousarray(picture)
