"""What each step between the integers of a record and its stored bytes earns, on finished caches.

    transform_gains.py CACHE... [--json] [--save NAME]

Decodes every block with the package in tools/python, writes its columns again with one step left
out, and counts bytes after zstd level 1 with a zstd block for every piece, as a cache has them.
Nothing else changes: lists and coefficients are those of the cache. Beside them: the bytes of an
order-0 range coder with a model for each rank, which learns its counts while it codes a block, and
of one that knew the counts of the whole cache before.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np
import zstandard

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/python"))

import logitcache  # noqa: E402
from logitcache.blocks import groups  # noqa: E402
from logitcache.calibration import BY_FIRST_CLASS, NO_KEY, Calibration, Orders  # noqa: E402
from logitcache.forms import BUCKETS, FORMS, PLAIN, prefix_code_bits, write_integers  # noqa: E402
from logitcache.tails import TailPredictor  # noqa: E402

PLANES = {"ids": [1], "gaps": [2], "largest": [3], "label": [4, 5], "tails": range(16, 24)}


# Columns as pieces: what zstd gets, each in a block of its own.


def byte_planes(values: np.ndarray) -> list[bytes]:
    """The low bytes of all integers, then the next, as many as the largest needs."""
    values = values.ravel()
    width = max(1, -(-int(values.max(initial=0)).bit_length() // 8))
    return [(values >> 8 * place & 255).astype(np.uint8).tobytes() for place in range(width)]


def formed(values: np.ndarray, among=FORMS) -> list[bytes]:
    """The pieces of the cheapest form."""
    form, _, content = write_integers(values, among)
    if form == PLAIN:
        return [content]
    ends = [values.size]
    if form != BUCKETS:
        codes = -(-values.size * form // 8)
        ends = [codes, codes + int((values >= (1 << form) - 1).sum())]
    starts = [0, *ends]
    return [content[start:end] for start, end in zip(starts, [*ends, len(content)])]


def grouped(values: np.ndarray, write=formed) -> list[bytes]:
    """Ranks [ranks, rows] in groups, each written alone."""
    parts = (values[group.start : group.stop] for group in groups(len(values)))
    return [piece for part in parts for piece in write(part)]


def from_smallest(values: np.ndarray, write=formed) -> list[bytes]:
    least = int(values.min())
    return [np.int32(least).tobytes(), *write(values.astype(np.int64) - least)]


def buckets_or_plain(values: np.ndarray) -> list[bytes]:
    return formed(values, (BUCKETS, PLAIN))


def without_tables(values: np.ndarray) -> list[bytes]:
    """The pieces of the form that would be cheapest if the tables of codes cost nothing."""

    def bits(pieces: list[bytes]) -> int:
        tables = sum(4 * len(set(piece)) for piece in pieces[:-1] if len(set(piece)) > 1)
        return sum(map(prefix_code_bits, pieces[:-1])) - tables + 8 * len(pieces[-1])

    return min((formed(values, [form]) for form in FORMS), key=bits)


def smallest(values: np.ndarray) -> list[bytes]:
    """The pieces of the form that zstd makes smallest, which a writer finds by trying all."""
    return min((formed(values, [form]) for form in FORMS), key=stored)


#: Level 1 gives a piece of at most 1,024 bytes the Huffman table of the piece before wherever that
#: can code it; from this strategy on zstd does not.
OWN_TABLES = {"strategy": zstandard.STRATEGY_LAZY, "search_log": 1, "min_match": 7}


def stored(pieces: list[bytes], level: int = 1, **parameters) -> int:
    """Bytes of one zstd frame with a block for every piece."""
    chosen = zstandard.ZstdCompressionParameters.from_level(level, **parameters)
    compressor = zstandard.ZstdCompressor(compression_params=chosen).compressobj()
    size = 0
    for piece in filter(None, pieces):
        size += len(compressor.compress(piece))
        size += len(compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
    return size + len(compressor.flush())


# Ids


def used_before(ranks: np.ndarray) -> np.ndarray:
    """Each rank [k, rows] among those that no earlier class has taken."""
    digits = ranks.copy()
    for place in range(1, len(ranks)):
        digits[place] -= (ranks[:place] < ranks[place]).sum(axis=0)
    return digits


class Ids:
    """The classes of a block as ranks in orders, and as digits."""

    def __init__(self, columns, calibration: Calibration):
        self.ids = columns.ids.T.astype(np.int64)
        self.labels = columns.labels.astype(np.int64)
        self.calibration = calibration

    def ranks(self, orders: Orders, count: bool) -> np.ndarray:
        by_first = self.calibration.key == BY_FIRST_CLASS
        keys = self.ids[0] if by_first else self.labels
        ranks = orders.ranks(np.tile(keys, len(self.ids)), self.ids.ravel())
        ranks = ranks.reshape(self.ids.shape)
        if count:
            ranks = used_before(ranks)
        if by_first:
            ranks[0] = orders.ranks(self.labels, self.ids[0])
        return ranks


def id_steps(ids: Ids) -> dict[str, list[bytes]]:
    """Pieces of the ids with the steps up to each, then with all but one."""
    lists = ids.calibration.orders
    one = lists.without_lists()
    ranks, digits = ids.ranks(lists, False), ids.ranks(lists, True)
    return {
        "byte planes of class numbers": byte_planes(ids.ids),
        "+ ranks in one order": byte_planes(ids.ranks(one, False)),
        "+ ranks in lists": byte_planes(ranks),
        "+ digits: ranks used before do not count": byte_planes(digits),
        "+ buckets": formed(digits, [BUCKETS]),
        "+ groups of ranks": grouped(digits, lambda part: formed(part, [BUCKETS])),
        "+ packed forms": grouped(digits),
        "all but lists": grouped(ids.ranks(one, True)),
        "all but any order": grouped(used_before(ids.ids)),
        "all but digits": grouped(ranks),
        "all but buckets and packed forms": grouped(digits, byte_planes),
        "all but packed forms": grouped(digits, buckets_or_plain),
        "all but groups": formed(digits),
    }


# Gaps and tails


def gap_steps(columns) -> dict[str, list[bytes]]:
    levels = columns.levels.T.astype(np.int64)
    deltas, levels = np.diff(levels, axis=0), levels[1:]
    return {
        "byte planes of gaps to the largest": byte_planes(levels),
        "+ differences": byte_planes(deltas),
        "+ groups of ranks": grouped(deltas, byte_planes),
        "+ buckets": grouped(deltas, lambda part: formed(part, [BUCKETS])),
        "+ packed forms": grouped(deltas),
        "all but differences": grouped(levels),
        "all but buckets and packed forms": grouped(deltas, byte_planes),
        "all but packed forms": grouped(deltas, buckets_or_plain),
        "all but groups": formed(deltas),
    }


def tail_steps(columns, encoding, calibration: Calibration) -> dict[str, list[bytes]]:
    tails = columns.tails.T.astype(np.int64)
    if not len(tails):
        return {}
    levels = columns.levels.T.astype(np.int64)
    learned = TailPredictor(encoding, calibration.coefficients).encode(levels, tails)
    fixed = [[0] * 3 + ([0] * (i - 1) + [4096] if i else []) for i in range(len(tails))]
    plain = TailPredictor(encoding, fixed).encode(levels, tails)
    return {
        "from the smallest": [piece for tail in tails for piece in from_smallest(tail)],
        "+ prediction, nothing learned": [piece for tail in plain for piece in formed(tail)],
        "+ learned coefficients": [piece for tail in learned for piece in formed(tail)],
        "all but packed forms": [piece for tail in learned for piece in buckets_or_plain(tail)],
    }


def planes(columns, encoding, calibration: Calibration) -> dict[str, list[np.ndarray]]:
    """The integers of a block by field, a list for each rank or plane."""
    levels, tails = columns.levels.T.astype(np.int64), columns.tails.T.astype(np.int64)
    outside = columns.label_ranks >= encoding.k
    ranks = np.where(outside, columns.label_ranks.astype(np.int64) - encoding.k + 1, 0)
    gaps = (columns.label_levels.astype(np.int64) - levels[-1])[outside]
    predictor = TailPredictor(encoding, calibration.coefficients)
    return {
        "ids": list(Ids(columns, calibration).ranks(calibration.orders, True)),
        "gaps": list(np.diff(levels, axis=0)),
        "largest": [columns.largest.astype(np.int64) - int(columns.largest.min())],
        "label": [ranks, gaps],
        "tails": predictor.encode(levels, tails) if len(tails) else [],
    }


def all_pieces(fields: dict[str, list[np.ndarray]], write=formed) -> list[bytes]:
    """What a cache makes of a block, without header, directory and the smallest of its largest."""
    alone = [*fields["largest"], *fields["label"], *fields["tails"]]
    return [
        *(piece for name in ("ids", "gaps") for piece in grouped(np.array(fields[name]), write)),
        *(piece for plane in alone for piece in write(plane)),
    ]


def largest_steps(columns, encoding) -> dict[str, list[bytes]]:
    numbers = columns.largest / np.float32(encoding.largest_steps_per_nat)
    bits = numbers.astype(np.float32).view(np.uint32).astype(np.int64)
    return {
        "byte planes of float32": byte_planes(bits),
        "from the smallest, in a form": from_smallest(columns.largest),
    }


# An order-0 range coder


class Models:
    """Bits that coders of buckets need, with a model for each rank.

    The bits that tell an integer from others in its bucket are counted as they are.
    """

    def __init__(self):
        self.counts: dict[str, list[np.ndarray]] = {}
        self.adaptive: dict[str, float] = dict.fromkeys(PLANES, 0)
        self.inside: dict[str, int] = dict.fromkeys(PLANES, 0)

    def add(self, field: str, ranks: list[np.ndarray]) -> None:
        """Adds one block's integers."""
        known = self.counts.setdefault(field, [np.zeros(128, np.int64) for _ in ranks])
        for before, values in zip(known, ranks):
            octaves = np.frexp(values.astype(np.float64))[1].astype(np.int64) - 1
            widths = np.where(values < 16, 0, np.maximum(octaves - 2, 0))
            numbers = np.where(values < 16, values, 4 * (widths + 2) + (values >> widths & 3))
            found = np.bincount(numbers, minlength=128)
            self.adaptive[field] += learning_bits(found)
            self.inside[field] += int(widths.sum())
            before += found

    def bytes(self, field: str, adaptive: bool) -> float:
        known = sum(known_bits(counts) for counts in self.counts.get(field, []))
        return ((self.adaptive[field] if adaptive else known) + self.inside[field]) / 8


def known_bits(counts: np.ndarray) -> float:
    """Of a coder that knows the counts."""
    some = counts[counts > 0]
    return float(some.sum() * math.log2(max(1, some.sum())) - (some * np.log2(some)).sum())


def learning_bits(counts: np.ndarray) -> float:
    """Of a coder that begins with half a count for every bucket up to the largest one used."""
    symbols, total = int(np.flatnonzero(counts).max(initial=0)) + 1, int(counts.sum())
    nats = math.lgamma(total + symbols / 2) - math.lgamma(symbols / 2)
    for count in counts[counts > 0]:
        nats -= math.lgamma(count + 0.5) - math.lgamma(0.5)
    return nats / math.log(2)


def measure(path: str) -> dict:
    """All figures of a cache, in bytes per record."""
    with logitcache.open(path) as cache:
        manifest, calibration = cache.manifest, cache.calibration
        encoding = manifest.encoding
        steps: dict[str, dict[str, int]] = {}
        frames: dict[str, int] = {}
        written = dict.fromkeys(PLANES, 0)
        models, total, whole = Models(), 0, 0

        def add(field: str, pieces: dict[str, list[bytes]]) -> None:
            for name, content in pieces.items():
                sizes = steps.setdefault(field, {})
                sizes[name] = sizes.get(name, 0) + stored(content)

        for view, block in cache.stored_blocks():
            columns, info = cache.block(view, block).columns, cache.info(view, block)
            total += columns.rows
            whole += info.stored_bytes
            for field, numbers in PLANES.items():
                written[field] += sum(info.planes.get(number, (0, 0))[1] for number in numbers)
            add("ids", id_steps(Ids(columns, calibration)))
            add("gaps", gap_steps(columns))
            add("tails", tail_steps(columns, encoding, calibration))
            add("largest", largest_steps(columns, encoding))
            fields = planes(columns, encoding, calibration)
            pieces, best = all_pieces(fields), all_pieces(fields, smallest)
            unpriced = all_pieces(fields, without_tables)
            for name, size in [
                ("a block for every piece, level 1", stored(pieces)),
                ("one block", stored([b"".join(pieces)])),
                ("level 3", stored(pieces, 3)),
                ("level 9", stored(pieces, 9)),
                ("level 19", stored(pieces, 19)),
                ("no zstd", sum(map(len, pieces))),
                ("level 1, a table for every piece", stored(pieces, **OWN_TABLES)),
                ("level 1, forms priced without their tables", stored(unpriced)),
                ("level 1, forms chosen by trying", stored(best)),
                ("level 1, both", stored(best, **OWN_TABLES)),
            ]:
                frames[name] = frames.get(name, 0) + size
            for field, ranks in fields.items():
                models.add(field, ranks)

    def share(sizes: dict) -> dict:
        return {name: round(size / total, 4) for name, size in sizes.items()}

    return {
        "cache": Path(path).name,
        "classes": encoding.classes,
        "k": encoding.k,
        "records": total,
        "blockRows": encoding.block_rows,
        "hasLists": calibration.key != NO_KEY,
        "stored": round(whole / total, 4),
        "fields": share(written),
        "steps": {field: share(sizes) for field, sizes in steps.items()},
        "zstd": share(frames),
        "rangeCoder": {
            name: share({field: models.bytes(field, adaptive) for field in PLANES})
            for name, adaptive in [("learning in each block", True), ("counts known", False)]
        },
    }


def table(figures: dict) -> str:
    """The figures of a cache as text."""
    lines = [
        f"{figures['cache']}: C = {figures['classes']}, k = {figures['k']}, "
        f"{figures['records']} records, {figures['stored']:.2f} B/record, "
        f"lists: {'yes' if figures['hasLists'] else 'no'}"
    ]
    for field, steps in figures["steps"].items():
        lines.append(f"  {field}: {figures['fields'][field]:.2f} in the cache")
        lines += [f"    {name:44}{size:9.2f}" for name, size in steps.items()]
    lines.append("  zstd, all fields")
    lines += [f"    {name:44}{size:9.2f}" for name, size in figures["zstd"].items()]
    for name, sizes in figures["rangeCoder"].items():
        coded = ", ".join(f"{field} {size:.2f}" for field, size in sizes.items())
        lines.append(f"  range coder, {name}: {sum(sizes.values()):.2f} ({coded})")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("caches", nargs="+", metavar="CACHE")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--save", metavar="NAME", help="also as Benchmarks/runs/NAME.json")
    parser.add_argument("--commit", default="unknown", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    results = []
    for path in arguments.caches:
        results.append(measure(path))
        print(table(results[-1]), file=sys.stderr)
    report = {
        "bench": "gains",
        "commit": arguments.commit,
        "unit": "B/record",
        "zstandard": ".".join(map(str, zstandard.ZSTD_VERSION)),
        "caches": results,
    }
    text = json.dumps(report, sort_keys=True, separators=(",", ":"))
    if arguments.json:
        print(text)
    if arguments.save:
        (ROOT / f"Benchmarks/runs/{arguments.save}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
