"""Random words from a counter: Philox4x32-10 (Salmon and others 2011), over whole batches."""

import numpy as np

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_INCREMENTS = 0x9E3779B9, 0xBB67AE85


def philox(counters: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Ten rounds over counters [..., 4] of 32-bit words; the same shape, uint64."""
    c0, c1, c2, c3 = np.moveaxis(counters.astype(np.uint64), -1, 0)
    for round in range(10):
        k0, k1 = (np.uint64((k + round * i) & 0xFFFFFFFF) for k, i in zip(key, _INCREMENTS))
        left, right = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (right >> _HALF) ^ c1 ^ k0,
            right & _LOW,
            (left >> _HALF) ^ c3 ^ k1,
            left & _LOW,
        )
    return np.stack([c0, c1, c2, c3], axis=-1)


class Draws:
    """The random numbers of one operation, a column of [B] for each draw, in drawing order."""

    def __init__(self, seed: int, samples: np.ndarray, view: int, operation: int):
        self.key = seed & 0xFFFFFFFF, seed >> 32
        self.samples = np.asarray(samples, np.uint64)
        self.rest = view, operation
        self.used = 0

    def word(self) -> np.ndarray:
        """The next word of every sample, int64 below 2^32."""
        block, lane = divmod(self.used, 4)
        if lane == 0:
            counters = np.empty((len(self.samples), 4), np.uint64)
            counters[:, 0] = self.samples
            counters[:, 1:] = *self.rest, block
            self.latest = philox(counters, self.key).astype(np.int64)
        self.used += 1
        return self.latest[:, lane]

    def words(self, count: int) -> np.ndarray:
        """The next `count` words of every sample, [B, count]."""
        first, skipped = divmod(self.used, 4)
        blocks = np.arange(first, (self.used + count + 3) // 4)
        counters = np.empty((len(self.samples), len(blocks), 4), np.uint64)
        counters[..., 0] = self.samples[:, None]
        counters[..., 1], counters[..., 2] = self.rest
        counters[..., 3] = blocks
        words = philox(counters, self.key).astype(np.int64)
        # What word() goes on with in the middle of a block.
        self.used, self.latest = self.used + count, words[:, -1]
        return words.reshape(len(self.samples), -1)[:, skipped : skipped + count]

    def below(self, bound) -> np.ndarray:
        """In [0, bound - 1]; the bound is at most 2^31, one for all or one for each sample."""
        return self.word() * bound >> 32

    def between(self, least: int, greatest: int) -> np.ndarray:
        """In [least, greatest]."""
        return least + self.below(greatest - least + 1)

    def happens(self, parts: int) -> np.ndarray:
        """True with a probability in 65536ths."""
        return self.word() >> 16 < parts

    def coin(self) -> np.ndarray:
        """True half of the time."""
        return self.word() >> 31 == 1
