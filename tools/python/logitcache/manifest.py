"""What a cache is: the manifest, its limits and its fingerprint (docs/FORMAT.md, 4 and 9)."""

from dataclasses import dataclass
from fractions import Fraction

from .canonical import canonical_json, digest, is_digest, parse_canonical
from .errors import LogitCacheError, demand

FORMAT_VERSION = 1
LARGEST_BLOCK = 2**30


@dataclass(frozen=True)
class SubspaceTail:
    """How full rows are kept beside the head."""

    step_sixteenths: int
    maximum_axes: int
    axis_bytes: int

    @property
    def step(self) -> float:
        """Of a coefficient, in nats."""
        return self.step_sixteenths / 16


@dataclass(frozen=True)
class Positions:
    """How a view has a record for each of several positions."""

    #: The positions that a view can have.
    maximum: int
    #: Whose labels records have: "sample" or "position".
    labels: str


@dataclass(frozen=True)
class Encoding:
    """How records are stored; steps are counts in one nat."""

    classes: int
    k: int
    steps_per_nat: int
    largest_steps_per_nat: int
    tail_steps_per_nat: int
    temperatures: tuple[Fraction, ...]
    feature_width: int | None
    subspace_tail: SubspaceTail | None
    #: "full" when the order of all classes is kept, else None.
    ranking: str | None
    #: None when a view has one record.
    positions: Positions | None
    #: Samples of a block.
    block_rows: int
    codec: int
    zstd_level: int

    @property
    def tail_temperatures(self) -> tuple[Fraction, ...]:
        """The temperatures at which a record has a tail ratio: none when k = C."""
        return self.temperatures if self.k < self.classes else ()

    @property
    def block_records(self) -> int:
        """No block has more records."""
        return self.block_rows * (1 if self.positions is None else self.positions.maximum)

    @property
    def labels_positions(self) -> bool:
        """Whether positions have labels, and not samples."""
        return self.positions is not None and self.positions.labels == "position"


@dataclass(frozen=True)
class Manifest:
    """Everything that decides the records of a cache."""

    data_set_name: str
    data_set_fingerprint: str
    samples: int
    labels_digest: str
    class_names: tuple[str, ...]
    recipe: object
    recipe_digest: str
    seed: int
    views: int
    teacher: dict
    encoding: Encoding
    calibration: str
    #: The digest of the cache that this one was derived from, None when a teacher ran.
    derived_from: str | None
    fingerprint: str

    @property
    def blocks_per_view(self) -> int:
        return -(-self.samples // self.encoding.block_rows)

    @property
    def block_count(self) -> int:
        """The blocks of a complete cache."""
        return self.views * self.blocks_per_view

    def block_samples(self, block: int) -> range:
        """The samples of a block of any view."""
        first = block * self.encoding.block_rows
        return range(first, min(first + self.encoding.block_rows, self.samples))

    def block_record_counts(self, block: int) -> range:
        """How many records a block can have: one a sample, unless there are positions."""
        samples, positions = len(self.block_samples(block)), self.encoding.positions
        if positions is None:
            return range(samples, samples + 1)
        return range(samples * positions.maximum + 1)

    def contains(self, view: int, block: int) -> bool:
        """Whether a complete cache has this block."""
        return 0 <= view < self.views and 0 <= block < self.blocks_per_view


def parse_manifest(text: bytes, path: str) -> Manifest:
    """Reads canonical JSON and checks every member; raises LogitCacheError."""
    what = f"{path}: the manifest"
    document = parse_canonical(text, what)
    try:
        return _manifest(document)
    except LogitCacheError as error:
        raise LogitCacheError(f"{what} is damaged: {error}") from None


def _members(value, name: str, required: dict, optional: dict | None = None) -> dict:
    """The members of an object, all of the named types and no others."""
    types = required | (optional or {})
    demand(isinstance(value, dict), f"{name} is not an object")
    missing, foreign = required.keys() - value.keys(), value.keys() - types.keys()
    demand(not missing, f"{name} lacks {', '.join(sorted(missing))}")
    demand(not foreign, f"{name} has the unknown members {', '.join(sorted(foreign))}")
    for key, member in value.items():
        fits = isinstance(member, types[key]) and not isinstance(member, bool)
        demand(fits, f"{name}.{key} is not of the right type")
    return value


def _manifest(document) -> Manifest:
    version = document.get("formatVersion") if isinstance(document, dict) else None
    demand(version == FORMAT_VERSION, f"format version {version} is not known, only 1 is read")
    top = _members(
        document,
        "it",
        dict(
            formatVersion=int,
            dataSet=dict,
            recipe=dict,
            seed=int,
            views=int,
            teacher=dict,
            encoding=dict,
            calibration=str,
        ),
        dict(derivedFrom=dict),
    )
    data_set = _members(
        top["dataSet"],
        "dataSet",
        dict(name=str, fingerprint=str, samples=int, labels=str, classNames=list),
    )
    recipe = _members(top["recipe"], "recipe", dict(digest=str, content=object))
    encoding = _encoding(top["encoding"])
    origin = top.get("derivedFrom")
    if origin is not None:
        _members(origin, "derivedFrom", dict(cacheDigest=str, fingerprint=str))
    for value, name in [
        *((value, f"derivedFrom.{key}") for key, value in (origin or {}).items()),
        (data_set["fingerprint"], "dataSet.fingerprint"),
        (data_set["labels"], "dataSet.labels"),
        (recipe["digest"], "recipe.digest"),
        (top["calibration"], "calibration"),
    ]:
        demand(is_digest(value), f"{name} is not a digest")
    names = data_set["classNames"]
    demand(all(isinstance(name, str) for name in names), "a class name is not a text")
    manifest = Manifest(
        data_set_name=data_set["name"],
        data_set_fingerprint=data_set["fingerprint"],
        samples=data_set["samples"],
        labels_digest=data_set["labels"],
        class_names=tuple(names),
        recipe=recipe["content"],
        recipe_digest=recipe["digest"],
        seed=top["seed"],
        views=top["views"],
        teacher=top["teacher"],
        encoding=encoding,
        calibration=top["calibration"],
        derived_from=origin and origin["cacheDigest"],
        fingerprint=_fingerprint(top),
    )
    _check_sizes(manifest)
    return manifest


def _fingerprint(document: dict) -> str:
    """Digest of the canonical JSON with the zstd level set to 0."""
    identity = document | {"encoding": document["encoding"] | {"zstdLevel": 0}}
    return digest(canonical_json(identity))


def _check_sizes(manifest: Manifest) -> None:
    encoding = manifest.encoding
    demand(1 <= manifest.samples <= 2**40, f"{manifest.samples} samples cannot be cached")
    demand(1 <= manifest.views <= 2**24, f"{manifest.views} views cannot be cached")
    demand(manifest.blocks_per_view < 2**32, f"{manifest.blocks_per_view} blocks are too many")
    positions = 1 if encoding.positions is None else encoding.positions.maximum
    demand(manifest.samples * manifest.views * positions <= 2**48, "there are too many records")
    demand(0 <= manifest.seed < 2**63, f"the seed {manifest.seed} is not below 2^63")
    demand(
        len(manifest.class_names) == encoding.classes,
        f"{len(manifest.class_names)} class names for {encoding.classes} classes",
    )
    demand(
        encoding.feature_width is None or manifest.samples * manifest.views <= 2**31,
        "there are too many records for sums of features",
    )


def _encoding(value) -> Encoding:
    _members(
        value,
        "encoding",
        dict(
            classes=int,
            k=int,
            stepsPerNat=int,
            largestStepsPerNat=int,
            tailStepsPerNat=int,
            temperatures=list,
            blockRows=int,
            codec=int,
            zstdLevel=int,
        ),
        dict(featureWidth=int, subspaceTail=dict, ranking=str, positions=dict),
    )

    def within(name: str, least: int, greatest: int):
        number = value[name]
        demand(
            least <= number <= greatest,
            f"encoding.{name} is {number}, it must be in {least}...{greatest}",
        )
        return number

    classes = within("classes", 1, 2**24)
    steps = within("stepsPerNat", 1, 256)
    has_features = "featureWidth" in value
    encoding = Encoding(
        classes=classes,
        k=within("k", 1, classes),
        steps_per_nat=steps,
        largest_steps_per_nat=within("largestStepsPerNat", steps, 256),
        tail_steps_per_nat=within("tailStepsPerNat", 1, 256),
        temperatures=_temperatures(value["temperatures"]),
        feature_width=(
            within("featureWidth", 1, min(2**16, max(1, 2**28 // classes)))
            if has_features
            else None
        ),
        subspace_tail=_subspace_tail(value["subspaceTail"]) if "subspaceTail" in value else None,
        ranking=value.get("ranking"),
        positions=_positions(value["positions"]) if "positions" in value else None,
        block_rows=within("blockRows", 1, 2**16),
        codec=within("codec", 1, 1),
        zstd_level=within("zstdLevel", 1, 19),
    )
    if encoding.positions is not None:
        demand(not has_features, "features stand beside positions")
        demand(
            encoding.block_records <= 2**16,
            f"{encoding.block_rows} samples of {encoding.positions.maximum} positions do not fit "
            "a block",
        )
    if encoding.ranking is not None:
        _check_ranking(encoding)
    demand(
        largest_block(encoding) <= LARGEST_BLOCK,
        f"{encoding.block_records} rows of k = {encoding.k} do not fit a block",
    )
    demand(
        encoding.subspace_tail is None or encoding.k < classes,
        "a subspace tail stands beside all classes",
    )
    return encoding


def _check_ranking(encoding: Encoding) -> None:
    demand(encoding.ranking == "full", f"encoding.ranking is {encoding.ranking!r}, not 'full'")
    demand(encoding.k < encoding.classes, "a ranking stands beside all classes")
    demand(encoding.subspace_tail is None, "a ranking stands beside a subspace tail")
    demand(encoding.classes <= 2**16, f"{encoding.classes} classes are too many for a ranking")
    demand(
        encoding.block_records <= 2**26 // encoding.classes,
        f"{encoding.block_records} rows of {encoding.classes} ranked classes do not fit a block",
    )


def _subspace_tail(value) -> SubspaceTail:
    name = "encoding.subspaceTail"
    limits = dict(stepSixteenths=4096, maximumAxes=4096, axisBytes=2)
    _members(value, name, dict.fromkeys(limits, int))
    for key, greatest in limits.items():
        demand(1 <= value[key] <= greatest, f"{name}.{key} is {value[key]}, at most {greatest}")
    return SubspaceTail(*(value[key] for key in limits))


def _positions(value) -> Positions:
    name = "encoding.positions"
    _members(value, name, dict(maximum=int, labels=str))
    demand(2 <= value["maximum"] <= 4096, f"{name}.maximum is {value['maximum']}, not 2...4096")
    demand(value["labels"] in ("sample", "position"), f"{name}.labels is {value['labels']!r}")
    return Positions(value["maximum"], value["labels"])


def largest_block(encoding: Encoding) -> int:
    """No canonical block of this encoding is longer, in bytes."""
    features = 0 if encoding.feature_width is None else 1
    integers = 2 * encoding.k + 3 + len(encoding.tail_temperatures) + features
    fixed = 824
    if encoding.subspace_tail is not None:
        integers += min(encoding.subspace_tail.maximum_axes, encoding.classes) + 1
        fixed += 112
    if encoding.ranking is not None:
        integers += encoding.classes - encoding.k - 1
        fixed += 136
    if encoding.positions is not None:
        integers += 2
        fixed += 16
    return fixed + encoding.block_records * 6 * integers


def class_width(classes: int) -> int:
    """The bits of a class."""
    return max(1, (classes - 1).bit_length())


def _temperatures(values: list) -> tuple[Fraction, ...]:
    temperatures = tuple(_temperature(value) for value in values)
    demand(1 <= len(temperatures) <= 8, f"{len(temperatures)} temperatures, 1 to 8 are allowed")
    ascending = all(a < b for a, b in zip(temperatures, temperatures[1:]))
    demand(ascending, "the temperatures are not ascending")
    demand(temperatures[0] >= Fraction(1, 4), "a temperature is below 1/4")
    return temperatures


def _temperature(value) -> Fraction:
    """An integer, or text such as "3/2" in lowest terms."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    try:
        temperature = Fraction(value) if is_whole or isinstance(value, str) else None
    except (ValueError, ZeroDivisionError):
        temperature = None
    sound = (
        temperature is not None
        and 1 <= temperature.numerator <= 1000
        and temperature.denominator <= 1000
        and (is_whole or (str(temperature) == value and temperature.denominator > 1))
    )
    demand(sound, f'{value!r} is not a temperature such as 2 or "3/2"')
    return temperature
