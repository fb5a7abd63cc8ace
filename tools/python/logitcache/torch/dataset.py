"""Replaying a cache in a DataLoader: views rendered again, beside the records made from them."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ..cache import Cache
from ..cache import open as open_cache
from ..errors import demand
from ..views import DataSet, check_views, matching_renderer
from ..views.render import Renderer
from .teacher import TeacherBatch


@dataclass(frozen=True)
class ReplayBatch:
    """Views and what the teacher said about them, row by row.

    `elements` are pixels uint8 [B, h, w, c], texts uint8 [B, bytes] or features float32 [B, width],
    those of all T positions beside each other where a sample has several; `labels` [B], with
    positions [B, M], -1 where there is no record (`teacher.mask`); `partners` [B] and `own_shares`
    [B] are the samples mixed in and the own share of each view.
    """

    samples: torch.Tensor
    views: torch.Tensor
    elements: torch.Tensor
    labels: torch.Tensor
    partners: torch.Tensor
    own_shares: torch.Tensor
    teacher: TeacherBatch

    def __len__(self) -> int:
        return len(self.samples)

    def images(self, mean: float = 0.0, deviation: float = 1.0) -> torch.Tensor:
        """The pixels as float32 [B, c, h, w] from 0 to 1, then (x - mean) / deviation."""
        pixels = self.elements.permute(0, 3, 1, 2).float() / 255
        return (pixels - mean) / deviation

    def map(self, change) -> "ReplayBatch":
        """The batch with every tensor changed."""
        return ReplayBatch(
            **{
                name: value.map(change) if isinstance(value, TeacherBatch) else change(value)
                for name, value in vars(self).items()
            }
        )

    def to(self, *arguments, **options) -> "ReplayBatch":
        """The batch on another device; as `torch.Tensor.to`."""
        return self.map(lambda tensor: tensor.to(*arguments, **options))

    def pin_memory(self) -> "ReplayBatch":
        """The batch in page-locked memory; a DataLoader with `pin_memory` calls this."""
        return self.map(lambda tensor: tensor.pin_memory())


def collate(items) -> ReplayBatch:
    """Makes one batch of what a DataLoader fetched: batches of any size, in order."""
    if isinstance(items, ReplayBatch):
        return items
    fields = {name: [vars(item)[name] for item in items] for name in vars(items[0])}
    return ReplayBatch(
        **{
            name: TeacherBatch.concatenate(values) if name == "teacher" else torch.cat(values)
            for name, values in fields.items()
        }
    )


class ReplayDataset(torch.utils.data.Dataset):
    """A cache's records with their views, V * n of them: item i is sample i % n of view i // n.

    An item is a ReplayBatch of one view, with all records of it; a DataLoader fetches whole
    batches at once. Cache and data are opened when a process first needs them, so each worker has
    its own. Without data, as for rows that were imported without any, items are records alone:
    their `elements` are empty.
    """

    def __init__(
        self,
        cache,
        data_set: Callable[[], DataSet] | None,
        check_blocks: int | None = 4,
        cached_blocks: int = 16,
    ):
        """Opens a cache's folder and checks it against the data.

        `data_set` opens the data, in every process; where workers are spawned and not forked it
        must be a function that can be pickled. `check_blocks` are rendered again and compared
        with what the teacher saw (None: all), `cached_blocks` are kept decoded.
        """
        self.path = os.fspath(cache)
        self.open_data_set = data_set
        self.cached_blocks = cached_blocks
        self._open: tuple[int, Cache, Renderer | None] | None = None
        self.manifest = self.cache.manifest
        if self.renderer is not None:
            check_views(self.cache, self.renderer, check_blocks)

    def _resources(self) -> tuple[Cache, Renderer | None]:
        if self._open is None or self._open[0] != os.getpid():
            cache = open_cache(self.path, self.cached_blocks)
            inherited = None if self._open is None else self._open[2]
            # A forked worker shares the data's memory, but no open file of LMDB.
            renderer = inherited
            if renderer is None and self.open_data_set is not None:
                renderer = matching_renderer(cache, self.open_data_set())
            self._open = os.getpid(), cache, renderer
        return self._open[1:]

    @property
    def cache(self) -> Cache:
        """This process's open cache."""
        return self._resources()[0]

    @property
    def renderer(self) -> Renderer | None:
        """This process's renderer; None without data."""
        return self._resources()[1]

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_open": None}

    def __len__(self) -> int:
        return self.manifest.samples * self.manifest.views

    def __getitem__(self, index: int) -> ReplayBatch:
        return self.__getitems__([index])

    def __getitems__(self, indices) -> ReplayBatch:
        indices = np.asarray(indices, np.int64)
        demand(
            np.all((indices >= 0) & (indices < len(self))),
            f"{self.path} has items 0 to {len(self) - 1}",
        )
        views, samples = np.divmod(indices, self.manifest.samples)
        cache, renderer = self._resources()
        records = cache.records(samples, views)
        elements = np.empty((len(samples), 0), np.uint8)
        partners, own_shares = samples.copy(), np.ones(len(samples), np.float32)
        if renderer is not None:
            demand(
                np.array_equal(records.labels, _labels(renderer.data_set, samples, records)),
                f"{self.path} has other labels than {renderer.data_set.name}",
            )
            rendered = renderer.render(samples, views)
            elements, partners = rendered.elements, rendered.partners
            own_shares = rendered.own_shares
        teacher = TeacherBatch.from_records(records)
        labels = teacher.labels
        if teacher.owners is not None:
            labels = teacher.padded(labels, -1)
        return ReplayBatch(
            samples=torch.from_numpy(samples),
            views=torch.from_numpy(views),
            elements=torch.from_numpy(elements),
            labels=labels,
            partners=torch.from_numpy(partners).long(),
            own_shares=torch.from_numpy(own_shares),
            teacher=teacher,
        )


def _labels(data_set: DataSet, samples: np.ndarray, records) -> np.ndarray:
    """The labels that the records should have."""
    labels = data_set.labels[samples]
    if records.owners is None:
        return labels
    if labels.ndim == 1:
        return labels[records.owners]
    # Exactly the positions with a label have a record.
    return labels[labels >= 0]


class EpochSampler(torch.utils.data.Sampler):
    """Batches of an epoch over one view, `epoch % V`, in an order that reads blocks once.

    Blocks are shuffled, then the rows of `window` of them together. The order depends on seed and
    epoch alone; set `epoch` before each. For `DataLoader(batch_sampler=...)`.
    """

    def __init__(self, data: ReplayDataset, batch: int, seed: int = 0, window: int = 16):
        self.manifest = data.manifest
        self.batch = batch
        self.seed = seed
        self.window = window
        self.epoch = 0

    def __len__(self) -> int:
        return -(-self.manifest.samples // self.batch)

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.Generator(np.random.PCG64([self.seed, self.epoch]))
        order = generator.permutation(self.manifest.blocks_per_view)
        parts = []
        for start in range(0, len(order), self.window):
            rows = [self.manifest.block_samples(int(b)) for b in order[start : start + self.window]]
            samples = np.concatenate([np.arange(r.start, r.stop) for r in rows])
            parts.append(generator.permutation(samples))
        items = np.concatenate(parts) + self.epoch % self.manifest.views * self.manifest.samples
        for start in range(0, len(items), self.batch):
            yield items[start : start + self.batch].tolist()
