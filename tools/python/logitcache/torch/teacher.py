"""What a teacher said about a batch, as tensors; never a dense [B, C] array."""

import dataclasses
from dataclasses import dataclass

import torch
from torch.nn.functional import softplus

from ..errors import LogitCacheError, demand
from ..records import Records


@dataclass(frozen=True)
class TeacherBatch:
    """B records with k of C classes each; values in nats, see `logitcache.Records`.

    With positions they are of `samples` views with up to `maximum_positions` records each.

    `mean_tail_logits` [B] are the means of the C - k logits outside the head, None unless they
    are known from elsewhere: a cache does not keep them.
    """

    classes: int
    tail_temperatures: tuple[float, ...]
    class_ids: torch.Tensor
    gaps: torch.Tensor
    largest_logits: torch.Tensor
    labels: torch.Tensor
    label_gaps: torch.Tensor
    label_ranks: torch.Tensor
    log_tail_ratios: torch.Tensor
    feature_norms: torch.Tensor | None = None
    ranking: torch.Tensor | None = None
    coefficients: torch.Tensor | None = None
    row_offsets: torch.Tensor | None = None
    mean_tail_logits: torch.Tensor | None = None
    samples: int | None = None
    maximum_positions: int | None = None
    owners: torch.Tensor | None = None
    positions: torch.Tensor | None = None

    @classmethod
    def from_records(cls, records: Records) -> "TeacherBatch":
        """Copies records; class ids and labels become int64, as indices must be."""
        arrays = {name: torch.tensor(value) for name, value in records.arrays().items()}
        indices = {"class_ids", "labels", "label_ranks", "ranking", "owners", "positions"}
        for name in indices & arrays.keys():
            arrays[name] = arrays[name].long()
        return cls(
            records.classes,
            records.tail_temperatures,
            samples=records.samples,
            maximum_positions=records.maximum_positions,
            **arrays,
        )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def k(self) -> int:
        return self.class_ids.shape[1]

    @property
    def tail_classes(self) -> int:
        """C - k."""
        return self.classes - self.k

    @property
    def mask(self) -> torch.Tensor:
        """Which positions have a record, bool [samples, M]; the others count in no loss."""
        demand(self.owners is not None, "these records are not of positions: there is no mask")
        mask = torch.zeros(
            self.samples, self.maximum_positions, dtype=torch.bool, device=self.owners.device
        )
        mask[self.owners, self.positions] = True
        return mask

    def padded(self, values: torch.Tensor, filler) -> torch.Tensor:
        """Values of each record [B, ...] as [samples, M, ...], `filler` where there is none."""
        shape = self.samples, self.maximum_positions, *values.shape[1:]
        full = values.new_full(shape, filler)
        full[self.owners, self.positions] = values
        return full

    def rows(self, student: torch.Tensor) -> torch.Tensor:
        """The rows [B, C] of student logits [samples, M, C] that have a record, in its order.

        Losses take either; their mean is over the rows that have a record.
        """
        if student.dim() < 3:
            return student
        shape = self.samples, self.maximum_positions, self.classes
        demand(
            student.shape == shape,
            f"student logits {list(student.shape)} do not fit records of {list(shape)}",
        )
        return student[self.owners, self.positions]

    def map(self, change) -> "TeacherBatch":
        """The batch with every tensor changed."""
        return dataclasses.replace(
            self,
            **{
                field.name: change(value)
                for field in dataclasses.fields(self)
                if isinstance(value := getattr(self, field.name), torch.Tensor)
            },
        )

    def to(self, *arguments, **options) -> "TeacherBatch":
        """The batch on another device; as `torch.Tensor.to`."""
        return self.map(lambda tensor: tensor.to(*arguments, **options))

    @classmethod
    def concatenate(cls, batches: list["TeacherBatch"]) -> "TeacherBatch":
        """The rows of batches of one cache, in order."""
        first = batches[0]
        joined = {
            field.name: torch.cat([getattr(batch, field.name) for batch in batches])
            for field in dataclasses.fields(cls)
            if isinstance(getattr(first, field.name), torch.Tensor)
        }
        if first.owners is not None:
            before = torch.tensor([0, *(batch.samples for batch in batches)]).cumsum(0)
            parts = [batch.owners + start for batch, start in zip(batches, before.tolist())]
            joined |= dict(owners=torch.cat(parts), samples=int(before[-1]))
        return dataclasses.replace(first, **joined)

    def log_tail_ratio(self, temperature: float) -> torch.Tensor | None:
        """log(tail mass / head mass) [B] at a planned temperature; None when there is no tail.

        Raises LogitCacheError at any other temperature: its mass is not known.
        """
        if self.tail_classes == 0:
            return None
        if temperature not in self.tail_temperatures:
            planned = ", ".join(f"{t:g}" for t in self.tail_temperatures)
            raise LogitCacheError(
                f"the cache keeps tail masses at the temperatures {planned}, not at "
                f"{temperature:g}: use one of these, or precompute it with that temperature"
            )
        return self.log_tail_ratios[:, self.tail_temperatures.index(temperature)]

    def log_shares(self, temperature: float, dtype: torch.dtype):
        """log p of the head [B, k], and of the whole tail [B], None when there is no tail."""
        head = -self.gaps.to(dtype) / temperature
        log_head = head.logsumexp(1)
        ratio = self.log_tail_ratio(temperature)
        if ratio is None:
            return head - log_head[:, None], None
        ratio = ratio.to(dtype)
        log_all = log_head + softplus(ratio)
        return head - log_all[:, None], -softplus(-ratio)

    def log_label_share(self, temperature: float, dtype: torch.dtype) -> torch.Tensor:
        """log p of the label [B], in the head or not."""
        log_p, _ = self.log_shares(temperature, dtype)
        return log_p[:, 0] - self.label_gaps.to(dtype) / temperature
