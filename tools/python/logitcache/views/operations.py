"""The operations on batches of images [B, h, w, c], in integers (docs/VIEWS.md, "Operations").

Every function takes the batch, the operation and its draws, and gives the new batch.
"""

import numpy as np

from .philox import Draws
from .recipe import ONE, Operation

_ARCS = (
    536870912,
    316933406,
    167458907,
    85004756,
    42667331,
    21354465,
    10679838,
    5340245,
    2670163,
    1335087,
    667544,
    333772,
    166886,
    83443,
    41722,
    20861,
    10430,
    5215,
    2608,
    1304,
    652,
    326,
    163,
    81,
    41,
    20,
    10,
    5,
    3,
    1,
)


def _round(values):
    """From 65536ths to whole numbers, halves up."""
    return values + 32768 >> 16


def _each(values: np.ndarray) -> np.ndarray:
    """One number for each image, [B] as [B, 1, 1, 1]."""
    return values[:, None, None, None]


def root(values: np.ndarray) -> np.ndarray:
    """The whole square roots of int64 below 2^62, rounded down."""
    found = np.sqrt(values.astype(np.float64)).astype(np.int64)
    found -= found * found > values
    found += (found + 1) * (found + 1) <= values
    return found


# Geometry


def pad_crop(images: np.ndarray, operation: Operation, draws: Draws) -> np.ndarray:
    pad = operation["pad"]
    down, right = draws.between(-pad, pad), draws.between(-pad, pad)
    _, height, width, _ = images.shape
    rows = np.arange(height) + down[:, None]
    columns = np.arange(width) + right[:, None]
    return _take(images, rows[:, :, None], columns[:, None, :], operation["fill"])


def _take(images: np.ndarray, rows, columns, fill: int) -> np.ndarray:
    """The pixels at rows and columns, `fill` where these lie outside."""
    count, height, width, _ = images.shape
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    chosen = images[
        np.arange(count)[:, None, None],
        np.clip(rows, 0, height - 1),
        np.clip(columns, 0, width - 1),
    ]
    return np.where(inside[..., None], chosen, np.uint8(fill))


def flip(images: np.ndarray, operation: Operation, draws: Draws) -> np.ndarray:
    flipped = draws.happens(operation["probability"])
    return np.where(_each(flipped), images[:, :, ::-1], images)


def sine_and_cosine(turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """About 2^30 times the sine and cosine of 2^-32 turns in [-2^31, 2^31]."""
    turned = np.abs(turns) > 1 << 30
    z = np.where(turned, np.where(turns > 0, turns - (1 << 31), turns + (1 << 31)), turns)
    x = np.full_like(z, 652032874)
    y = np.zeros_like(z)
    for step, arc in enumerate(_ARCS):
        sign = np.where(z >= 0, 1, -1)
        x, y, z = x - sign * (y >> step), y + sign * (x >> step), z - sign * arc
    return np.where(turned, -y, y), np.where(turned, -x, x)


def tangent(turns: np.ndarray) -> np.ndarray:
    """65536 times the tangent of 2^-32 turns."""
    sine, cosine = sine_and_cosine(np.abs(turns))
    value = ((sine << 16) + cosine // 2) // cosine
    return np.where(turns < 0, -value, value)


def affine(images: np.ndarray, operation: Operation, draws: Draws) -> np.ndarray:
    _, height, width, _ = images.shape
    angles, shears = ((64 * operation[name] + 45) // 90 for name in ("degrees", "shear"))
    move = operation["translate"]
    angle = draws.between(-angles, angles)
    right = draws.between(-move * width, move * width)
    down = draws.between(-move * height, move * height)
    scale = draws.between(*operation["scale"])
    shear = draws.between(-shears, shears)
    xx, xy, yx, yy = _inverse_map(angle, scale, shear)
    cx, cy = (width - 1) * 32768, (height - 1) * 32768
    dx = (np.arange(width) * ONE - cx) - right[:, None]
    dy = (np.arange(height) * ONE - cy) - down[:, None]

    def place(centre, along_x, along_y):
        across = (along_x[:, None] * dx)[:, None, :]
        return centre + _round(across + (along_y[:, None] * dy)[:, :, None])

    return _bilinear(images, place(cx, xx, xy), place(cy, yx, yy), operation["fill"])


def _inverse_map(angle, scale, shear):
    """The matrix from new places to old ones, in 65536ths."""
    sine, cosine = (value + 8192 >> 14 for value in sine_and_cosine(angle * 256))
    slope = tangent(shear * 256)
    inverse = ((1 << 32) + scale // 2) // scale
    return (
        _round(inverse * (cosine + _round(slope * sine))),
        _round(inverse * (sine - _round(slope * cosine))),
        _round(inverse * -sine),
        _round(inverse * cosine),
    )


def _bilinear(images: np.ndarray, x: np.ndarray, y: np.ndarray, fill: int) -> np.ndarray:
    """The images at places [B, h, w] in 65536ths of a pixel, between four neighbours."""
    count, height, width, channels = images.shape
    around = ((0, 0), (1, 1), (1, 1), (0, 0))
    framed = np.pad(images, around, constant_values=fill).reshape(-1, channels)
    x, y = x + 128 >> 8, y + 128 >> 8
    # Products stay below 2^24 + 2^15.
    u, v = ((places & 255).astype(np.int32)[..., None] for places in (x, y))
    column, row = x >> 8, y >> 8
    # Anything further out than the frame of fill is fill as well.
    left, right = (np.clip(column + i, -1, width) + 1 for i in (0, 1))
    first_rows = np.arange(count)[:, None, None] * (height + 2) + 1

    def between(rows):
        start = (np.clip(rows, -1, height) + first_rows) * (width + 2)
        return framed.take(start + left, 0) * (256 - u) + framed.take(start + right, 0) * u

    return _round(between(row) * (256 - v) + between(row + 1) * v).astype(np.uint8)


# Light


def brightness(images: np.ndarray, operation: Operation, draws: Draws) -> np.ndarray:
    return _stretch(images, np.zeros(len(images), np.int64), operation, draws)


def contrast(images: np.ndarray, operation: Operation, draws: Draws) -> np.ndarray:
    size = images[0].size
    means = (images.reshape(len(images), -1).sum(axis=1, dtype=np.int64) + size // 2) // size
    return _stretch(images, means, operation, draws)


def _stretch(images, centres, operation: Operation, draws: Draws) -> np.ndarray:
    """Multiplies the distance from a centre by a random factor."""
    amount = operation["amount"]
    factor = _each(draws.between(ONE - amount, ONE + amount))
    centre = _each(centres)
    # Below 2^25: the distance is at most 255, the factor 2^17.
    distance = images - centre.astype(np.int32)
    stretched = centre + _round(distance * factor.astype(np.int32))
    return np.clip(stretched, 0, 255).astype(np.uint8)


# Sharpness and noise


def blur(images: np.ndarray, operation: Operation, draws: Draws) -> np.ndarray:
    radius = draws.between(*operation["radius"])
    width = 2 * radius + ONE
    inner = ((1 << 32) + width // 2) // width
    outer = _round((radius % ONE) * inner)
    reach = radius >> 16
    weights = [ONE - 2 * (reach * inner + outer)]
    for distance in range(1, int(reach.max()) + 2):
        weights.append(
            np.where(distance <= reach, inner, np.where(distance == reach + 1, outer, 0))
        )
    for axis in (2, 1):
        images = _average(images, weights, axis)
    return images


def _average(images: np.ndarray, weights: list, axis: int) -> np.ndarray:
    """Weighs each pixel with its neighbours along an axis; outside counts as the nearest inside."""
    places = np.arange(images.shape[axis])
    total = images * _each(weights[0])
    for distance, weight in enumerate(weights[1:], 1):
        for other in (places - distance, places + distance):
            near = np.clip(other, 0, len(places) - 1)
            total += images.take(near, axis) * _each(weight)
    return _round(total).astype(np.uint8)


def noise(images: np.ndarray, operation: Operation, draws: Draws) -> np.ndarray:
    factor = _round(draws.between(*operation["deviation"]) * 113069)
    words = draws.words(images[0].size)
    sums = sum(words >> shift & 255 for shift in (0, 8, 16, 24))
    added = _round((sums - 510) * factor[:, None]).reshape(images.shape)
    return np.clip(images + added, 0, 255).astype(np.uint8)


# Rectangles and partners


def _inside(images, top, left, height, width) -> np.ndarray:
    """Whether pixels lie in each image's rectangle, [B, h, w, 1]."""
    rows, columns = np.arange(images.shape[1]), np.arange(images.shape[2])

    def span(places, start, length):
        return (places >= start[:, None]) & (places < (start + length)[:, None])

    return (span(rows, top, height)[:, :, None] & span(columns, left, width)[:, None, :])[..., None]


def erase(images: np.ndarray, operation: Operation, draws: Draws) -> np.ndarray:
    _, height, width, _ = images.shape
    erased = draws.happens(operation["probability"])
    part = draws.between(*operation["area"])
    ratio = draws.between(ONE, operation["aspect"])
    upright = draws.coin()
    area = part * (height * width)
    side = root(area * ratio)
    longer = np.maximum(1, _round(side))
    shorter = np.maximum(1, (area + side // 2) // np.maximum(1, side))
    tall = np.minimum(height, np.where(upright, longer, shorter))
    wide = np.minimum(width, np.where(upright, shorter, longer))
    top, left = draws.below(height - tall + 1), draws.below(width - wide + 1)
    hidden = _inside(images, top, left, tall, wide) & _each(erased)
    return np.where(hidden, np.uint8(operation["fill"]), images)


def partners(samples: np.ndarray, count: int, draws: Draws) -> np.ndarray:
    """Another sample for each: any other, all equally likely; itself when it is the only one."""
    drawn = draws.below(max(1, count - 1))
    return np.where((count == 1) | (drawn < samples), drawn, drawn + 1)


def mixup(images, others, operation: Operation, draws: Draws):
    """The blend and the own shares in 65536ths."""
    own = draws.between(*operation["share"])
    share = _each(own)
    return _round(images * share + others * (ONE - share)).astype(np.uint8), own


def cutmix(images, others, operation: Operation, draws: Draws):
    """The composition and the own shares in 65536ths."""
    _, height, width, _ = images.shape
    side = root(draws.between(*operation["area"]) * ONE)
    tall, wide = _round(height * side), _round(width * side)
    top, left = draws.below(height - tall + 1), draws.below(width - wide + 1)
    mixed = np.where(_inside(images, top, left, tall, wide), others, images)
    total = height * width
    return mixed, (ONE * (total - tall * wide) + total // 2) // total


PLAIN = {
    "pad-crop": pad_crop,
    "flip": flip,
    "affine": affine,
    "brightness": brightness,
    "contrast": contrast,
    "blur": blur,
    "noise": noise,
    "erase": erase,
}
MIXING = {"mixup": mixup, "cutmix": cutmix}
