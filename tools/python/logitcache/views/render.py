"""Rendering views of whole batches."""

import hashlib
from dataclasses import dataclass

import numpy as np

from ..errors import demand
from .datasets import DataSet
from .operations import MIXING, PLAIN, partners
from .philox import Draws
from .recipe import ONE, TEXTUAL, Recipe
from .resize import centre_boxes, random_boxes, resize
from .texts import TEXTS

_APPLY = PLAIN | TEXTS
# Numbers worked on at once: more do not fit a processor's cache.
_PIECE = 1 << 15


@dataclass(frozen=True)
class ViewBatch:
    """Rendered views: `elements` are pixels uint8 [B, h, w, c], texts uint8 [B, bytes] or features
    float32 [B, width].

    `partners` [B] are the samples mixed in (the sample itself where none was), `own_shares` [B]
    the sample's own share of the view, 1 where nothing was mixed in.
    """

    elements: np.ndarray
    partners: np.ndarray
    own_shares: np.ndarray


class Renderer:
    """Makes views of a data set; a view depends on recipe, seed, sample and its number alone."""

    def __init__(self, data_set: DataSet, recipe: Recipe, seed: int):
        demand(0 <= seed < 2**64, f"the seed {seed} is not a 64-bit integer")
        for step in recipe.operations:
            textual = step.name in TEXTUAL
            demand(
                data_set.is_texts if textual else data_set.is_images,
                f"{data_set.name} has other samples than the recipe's operation {step.name} "
                f"changes; operations need {'texts' if textual else 'images'}",
            )
        demand(
            data_set.positions == 1
            or not {"resized-crop", "pad-crop", "flip", "affine", *MIXING}
            & {step.name for step in recipe.operations},
            f"{data_set.name} has a label for each of {data_set.positions} positions; "
            "resized-crop, pad-crop, flip, affine, mixup and cutmix would leave them wrong",
        )
        self.data_set = data_set
        self.recipe = recipe
        self.seed = seed

    def render(self, samples, view) -> ViewBatch:
        """Renders samples, in their order; `view` is one view or one for each sample."""
        samples = np.asarray(samples, np.int64).reshape(-1)
        views = np.broadcast_to(np.asarray(view, np.int64), samples.shape)
        count = len(self.data_set)
        demand(
            np.all((samples >= 0) & (samples < count)),
            f"{self.data_set.name} has samples 0 to {count - 1}",
        )
        demand(np.all((views >= 0) & (views < 2**32)), "a view must be from 0 to 2^32 - 1")
        elements = np.empty((len(samples), *self.data_set.sample_shape), self.data_set.dtype)
        mixed_in, shares = samples.copy(), np.full(len(samples), ONE)
        least = 1 if self.data_set.is_stack else 32
        rows = max(least, _PIECE // max(1, int(np.prod(self.data_set.sample_shape))))
        for number in np.unique(views).tolist():
            chosen = np.flatnonzero(views == number)
            for start in range(0, len(chosen), rows):
                piece = chosen[start : start + rows]
                elements[piece], mixed_in[piece], shares[piece] = self._render(
                    samples[piece], number
                )
        return ViewBatch(
            elements, mixed_in.astype(np.int32), shares.astype(np.float32) / np.float32(ONE)
        )

    def _render(self, samples: np.ndarray, view: int):
        images = self._plain(samples, view)
        others, shares = samples.copy(), np.full(len(samples), ONE)
        operations = self.recipe.operations
        if not operations or not operations[-1].mixes:
            return images, others, shares
        last = operations[-1]
        draws = Draws(self.seed, samples, view, len(operations) - 1)
        mixed = draws.happens(last["probability"])
        drawn = partners(samples, len(self.data_set), draws)
        new, own = MIXING[last.name](images, self._plain(drawn, view), last, draws)
        images = np.where(mixed[:, None, None, None], new, images)
        return images, np.where(mixed, drawn, others), np.where(mixed, own, shares)

    def _plain(self, samples: np.ndarray, view: int) -> np.ndarray:
        """The views up to the operation that mixes."""
        images = self._sources(samples, view)
        for index, operation in enumerate(self.recipe.operations):
            if operation.name in _APPLY:
                draws = Draws(self.seed, samples, view, index)
                images = _APPLY[operation.name](images, operation, draws)
        return images

    def _sources(self, samples: np.ndarray, view: int) -> np.ndarray:
        """The samples in the views' size: as they are, or cut from pictures and resized."""
        first = self.recipe.operations[0] if self.recipe.operations else None
        crop = first if first and first.name == "resized-crop" else None
        if self.data_set.is_stack and not crop:
            return self.data_set.elements[samples]
        height, width, _ = self.data_set.sample_shape
        pictures = self.data_set.pictures(samples)
        sizes = np.array([picture.shape[:2] for picture in pictures], np.int64)
        if crop:
            boxes = random_boxes(sizes, crop, Draws(self.seed, samples, view, 0))
        else:
            boxes = centre_boxes(sizes, height, width)
        parts = [
            picture[top : top + tall, left : left + wide]
            for picture, (top, left, tall, wide) in zip(pictures, boxes.tolist())
        ]
        return np.stack([resize(part, height, width) for part in parts])

    def digest(self, samples: range, view: int) -> str:
        """The digest of the views of a run of samples, as a block stores it."""
        builder = hashlib.sha256()
        for start in range(samples.start, samples.stop, 1024):
            batch = self.render(range(start, min(start + 1024, samples.stop)), view)
            elements = np.ascontiguousarray(batch.elements, batch.elements.dtype.newbyteorder("<"))
            for row, partner, share in zip(elements, batch.partners, batch.own_shares):
                builder.update(row.tobytes())
                builder.update(np.array(partner, "<i4").tobytes())
                builder.update(np.array(share, "<f4").tobytes())
        return builder.hexdigest()
