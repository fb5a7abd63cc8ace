"""Entries of the table `index`: what is known of a block without reading it (docs/FORMAT.md, 7)."""

import math
from dataclasses import dataclass, field

from .canonical import ByteReader, unwrap
from .errors import demand
from .manifest import Encoding

_BUCKETS = 130


@dataclass
class Statistic:
    """The distribution of one error over records: sum, largest value, histogram."""

    sum: float = 0.0
    largest: float = 0.0
    histogram: list[int] = field(default_factory=lambda: [0] * _BUCKETS)

    @property
    def records(self) -> int:
        return sum(self.histogram)

    @property
    def mean(self) -> float:
        return self.sum / max(self.records, 1)

    def add(self, other: "Statistic") -> None:
        """Adds other records; in key order, the sums of two runs are equal."""
        self.sum += other.sum
        self.largest = max(self.largest, other.largest)
        self.histogram = [a + b for a, b in zip(self.histogram, other.histogram)]

    @classmethod
    def read(cls, reader: ByteReader, records: int) -> "Statistic":
        total, largest = reader.unpack("<dd")
        first, count = reader.variable(), reader.variable()
        demand(
            all(math.isfinite(value) and value >= 0 for value in (total, largest))
            and first + count <= _BUCKETS,
            f"{reader.what} is damaged: a statistic is malformed",
        )
        histogram = [0] * _BUCKETS
        histogram[first : first + count] = [reader.variable() for _ in range(count)]
        demand(
            sum(histogram) == records,
            f"{reader.what} is damaged: a statistic does not count {records} records",
        )
        return cls(total, largest, histogram)


@dataclass
class Certificate:
    """The measured error of stored records against the teacher's full rows.

    `at_temperature[T]` has the statistics `total_variation`, `kd_gradient_error`,
    `pld_dropped_weight` and `dist_angle`.
    """

    top_one_agreements: int
    order_agreements: int
    missing_energy: Statistic
    at_temperature: dict

    FIELDS = ("total_variation", "kd_gradient_error", "pld_dropped_weight", "dist_angle")

    @classmethod
    def empty(cls, encoding: Encoding) -> "Certificate":
        return cls(
            0,
            0,
            Statistic(),
            {t: {name: Statistic() for name in cls.FIELDS} for t in encoding.temperatures},
        )

    @classmethod
    def read(cls, reader: ByteReader, encoding: Encoding, records: int) -> "Certificate":
        top_one, order = reader.variable(), reader.variable()
        demand(
            max(top_one, order) <= records,
            f"{reader.what} is damaged: more records agree than there are",
        )
        energy = Statistic.read(reader, records)
        return cls(
            top_one,
            order,
            energy,
            {
                t: {name: Statistic.read(reader, records) for name in cls.FIELDS}
                for t in encoding.temperatures
            },
        )

    def add(self, other: "Certificate") -> None:
        """Adds the records of another block."""
        self.top_one_agreements += other.top_one_agreements
        self.order_agreements += other.order_agreements
        self.missing_energy.add(other.missing_energy)
        for t, statistics in self.at_temperature.items():
            for name, statistic in statistics.items():
                statistic.add(other.at_temperature[t][name])


@dataclass(frozen=True)
class BlockInfo:
    """An entry of the table `index`."""

    rows: int
    canonical_bytes: int
    stored_bytes: int
    digest: str
    view_digest: str
    planes: dict[int, tuple[int, int]]
    certificate: Certificate

    @classmethod
    def parse(cls, value, encoding: Encoding, allowed: range, what: str) -> "BlockInfo":
        """Reads the entry of a block; `allowed` are the numbers of records that it can have."""
        reader = ByteReader(unwrap(value, what), what)
        rows, canonical, stored = reader.unpack("<III")
        demand(
            rows in allowed,
            f"{what} is damaged: it counts {rows} rows, the block has {allowed[-1]}",
        )
        block_digest, view_digest = (bytes(reader.take(32)).hex() for _ in range(2))
        planes = {}
        for _ in range(reader.unpack("<B")[0]):
            (plane,) = reader.unpack("<B")
            planes[plane] = (reader.variable(), reader.variable())
        certificate = Certificate.read(reader, encoding, rows)
        reader.end()
        return cls(rows, canonical, stored, block_digest, view_digest, planes, certificate)
