"""Decoded records: as the stored integers, and as what losses read."""

import hashlib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from .manifest import Encoding

if TYPE_CHECKING:
    from .subspace import Axes


@dataclass(frozen=True)
class Columns:
    """The records of a block as integers, exactly what it stores; one row per record.

    `levels` and `label_levels` are gaps to the largest logit in steps, `largest` and `tails` are
    in their own steps; `feature_norms` are codes, None unless features are kept. `coefficients`
    [rows, axes] are the codes of a subspace tail, `offsets` are in steps of a gap; both None
    without one.
    `ranking` [rows, C - k] are the classes behind the head, best first; None unless kept.
    `counts` [samples] are the records of each sample and `positions` [rows] theirs; None where a
    view has one record.
    """

    ids: np.ndarray
    levels: np.ndarray
    largest: np.ndarray
    labels: np.ndarray
    label_ranks: np.ndarray
    label_levels: np.ndarray
    tails: np.ndarray
    feature_norms: np.ndarray | None
    ranking: np.ndarray | None = None
    coefficients: np.ndarray | None = None
    offsets: np.ndarray | None = None
    counts: np.ndarray | None = None
    positions: np.ndarray | None = None

    @property
    def rows(self) -> int:
        return len(self.labels)

    def digest_into(self, builder: "hashlib._Hash") -> None:
        """Adds all columns as little-endian int64, in the order of the fields."""
        for column in fields(self):
            values = getattr(self, column.name)
            if values is not None:
                builder.update(np.ascontiguousarray(values, dtype="<i8").tobytes())

    def values(self, encoding: Encoding, axes: "Axes | None") -> "Records":
        """The same records as numbers, in nats; `axes` are those of a subspace tail."""
        step = np.float32(1) / np.float32(encoding.steps_per_nat)
        largest_step = np.float32(1) / np.float32(encoding.largest_steps_per_nat)
        tail_step = np.float32(1) / np.float32(encoding.tail_steps_per_nat)
        norms = self.feature_norms
        coefficients = offsets = ranking = None
        if self.ranking is not None:
            ranking = np.concatenate([self.ids, self.ranking], axis=1).astype(np.int32)
        if axes is not None:
            coefficients = axes.coefficients(self.coefficients)
            offsets = self.offsets.astype(np.float32) * step
        return Records(
            classes=encoding.classes,
            tail_temperatures=tuple(float(t) for t in encoding.tail_temperatures),
            class_ids=self.ids.astype(np.int32),
            gaps=self.levels.astype(np.float32) * step,
            largest_logits=self.largest.astype(np.float32) * largest_step,
            labels=self.labels.astype(np.int32),
            label_gaps=self.label_levels.astype(np.float32) * step,
            label_ranks=self.label_ranks.astype(np.int32),
            log_tail_ratios=self.tails.astype(np.float32) * tail_step,
            feature_norms=None if norms is None else feature_norms(norms),
            ranking=ranking,
            coefficients=coefficients,
            row_offsets=offsets,
            **self._places(encoding),
        )

    def _places(self, encoding: Encoding) -> dict:
        if self.counts is None:
            return {}
        samples = len(self.counts)
        return dict(
            samples=samples,
            maximum_positions=encoding.positions.maximum,
            owners=np.repeat(np.arange(samples), self.counts),
            positions=self.positions,
        )


def feature_norms(codes: np.ndarray) -> np.ndarray:
    """Norms of features: 0 for code 0, else e^((code - 32768) / 256)."""
    return np.where(codes == 0, 0, np.exp((codes - 32768.0) / 256)).astype(np.float32)


@dataclass(frozen=True)
class Records:
    """What the teacher said about B views, or at B positions of views; logits and gaps in nats.

    The logit of head entry j is `largest_logits - gaps[:, j]`. `log_tail_ratios` [B, temperatures]
    are log(tail mass / head mass) at `tail_temperatures`; both are empty when k = C. `coefficients`
    [B, axes] and `row_offsets` [B] are what `Cache.axes` rebuilds full rows from; None without a
    subspace tail. `ranking` [B, C] are all classes in the teacher's order, ties lower class first;
    None unless the cache keeps it.

    With positions `owners` [B] say which of `samples` views each record is of, ascending, and
    `positions` [B] where in it, ascending, below `maximum_positions`; all are None without.
    """

    classes: int
    tail_temperatures: tuple[float, ...]
    class_ids: np.ndarray
    gaps: np.ndarray
    largest_logits: np.ndarray
    labels: np.ndarray
    label_gaps: np.ndarray
    label_ranks: np.ndarray
    log_tail_ratios: np.ndarray
    feature_norms: np.ndarray | None
    ranking: np.ndarray | None = None
    coefficients: np.ndarray | None = None
    row_offsets: np.ndarray | None = None
    samples: int | None = None
    maximum_positions: int | None = None
    owners: np.ndarray | None = None
    positions: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def k(self) -> int:
        return self.class_ids.shape[1]

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays with one row per record, by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in found.items() if isinstance(value, np.ndarray)}

    def with_arrays(self, arrays: dict[str, np.ndarray], samples: int | None = None) -> "Records":
        """The same kind of records with other arrays; with positions those of some samples."""
        known = dict(
            classes=self.classes,
            tail_temperatures=self.tail_temperatures,
            samples=samples,
            maximum_positions=self.maximum_positions,
        )
        return Records(**known, **{"feature_norms": None, **arrays})

    def logits(self) -> np.ndarray:
        """The head's logits [B, k], in descending order."""
        return self.largest_logits[:, None] - self.gaps
