"""The operations on batches of texts [B, bytes], in integers (docs/VIEWS.md, "Texts").

Every function takes the batch, the operation and its draws, and gives the new batch.
"""

import numpy as np

from .philox import Draws
from .recipe import Operation

# First and last letter, step, distance to the small letter.
_CAPITALS = (
    (0x41, 0x5A, 1, 32),
    (0xC0, 0xD6, 1, 32),
    (0xD8, 0xDE, 1, 32),
    (0x100, 0x12E, 2, 1),
    (0x132, 0x136, 2, 1),
    (0x139, 0x147, 2, 1),
    (0x14A, 0x176, 2, 1),
    (0x179, 0x17D, 2, 1),
    (0x218, 0x21A, 2, 1),
    (0x386, 0x386, 1, 38),
    (0x388, 0x38A, 1, 37),
    (0x38C, 0x38C, 1, 64),
    (0x38E, 0x38F, 1, 63),
    (0x391, 0x3A1, 1, 32),
    (0x3A3, 0x3AB, 1, 32),
    (0x400, 0x40F, 1, 80),
    (0x410, 0x42F, 1, 32),
    (0x48A, 0x4BE, 2, 1),
    (0x4D0, 0x52E, 2, 1),
    (0x531, 0x556, 1, 48),
    (0x1EA0, 0x1EFE, 2, 1),
)


def small_letters() -> np.ndarray:
    """For every scalar up to U+FFFF its small letter, or itself."""
    letters = np.arange(0x10000)
    for first, last, step, distance in _CAPITALS:
        letters[first : last + 1 : step] += distance
    return letters


_SMALL = small_letters()


def substring(texts: np.ndarray, operation: Operation, draws: Draws) -> np.ndarray:
    starts = (texts != 0) & (texts & 0xC0 != 0x80)
    total = starts.sum(axis=1)
    share = draws.between(*operation["share"])
    count = np.minimum(total, np.maximum(1, total * share + 32768 >> 16))
    first = draws.below(total - count + 1)
    character = np.cumsum(starts, axis=1) - 1
    kept = (texts != 0) & (character >= first[:, None]) & (character < (first + count)[:, None])
    # A stable sort brings what is kept to the front, in its order.
    front = np.argsort(~kept, axis=1, kind="stable")
    return np.take_along_axis(np.where(kept, texts, np.uint8(0)), front, 1)


def lowercase(texts: np.ndarray, operation: Operation, draws: Draws) -> np.ndarray:
    changed = draws.happens(operation["probability"])
    wide = texts.astype(np.int64)
    # The bytes one and two places on; zeros behind the end.
    second, third = (np.pad(wide, ((0, 0), (0, n)))[:, n:] & 0x3F for n in (1, 2))
    one, two, three = wide < 0x80, wide & 0xE0 == 0xC0, wide & 0xF0 == 0xE0
    number = np.where(one, wide, 0)
    number = np.where(two, (wide & 0x1F) << 6 | second, number)
    number = np.where(three, (wide & 0x0F) << 12 | second << 6 | third, number)
    small = _SMALL[number]
    result = np.where(one, small, wide)
    result = np.where(two, 0xC0 | small >> 6, result)
    for lead, place, bits in [(two, 1, 0), (three, 1, 6), (three, 2, 0)]:
        at = np.pad(lead, ((0, 0), (place, 0)))[:, : lead.shape[1]]
        byte = np.pad(0x80 | small >> bits & 0x3F, ((0, 0), (place, 0)))[:, : lead.shape[1]]
        result = np.where(at, byte, result)
    return np.where(changed[:, None], result.astype(np.uint8), texts)


TEXTS = {"substring": substring, "lowercase": lowercase}
