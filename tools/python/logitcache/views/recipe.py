"""Recipes: what is done to a sample, with every number in 65536ths (docs/VIEWS.md)."""

import json
import math
import os
from dataclasses import dataclass
from fractions import Fraction

from ..canonical import canonical_json, digest
from ..errors import LogitCacheError, demand

ONE = 65536
MIXING = ("mixup", "cutmix")
TEXTUAL = ("substring", "lowercase")

# For each operation its parameters: (kind, default, least, greatest). Without a default the
# parameter must be given. An "integer" is taken as it is; a "number" is held in 65536ths; a
# "range" is two numbers, the least first.
_FILL = ("integer", 0, 0, 255)
_CHANCE = ("number", 0.5, 0, 1)
_PARAMETERS = {
    "resized-crop": {
        "area": ("range", [0.08, 1], 0, 1),
        "ratio": ("range", ["49152/65536", "87381/65536"], 0.125, 8),
    },
    "pad-crop": {"pad": ("integer", None, 0, 4096), "fill": _FILL},
    "flip": {"probability": _CHANCE},
    "affine": {
        "degrees": ("number", 0, 0, 180),
        "translate": ("number", 0, 0, 1),
        "scale": ("range", [1, 1], 0.0625, 16),
        "shear": ("number", 0, 0, 45),
        "fill": _FILL,
    },
    "brightness": {"amount": ("number", None, 0, 1)},
    "contrast": {"amount": ("number", None, 0, 1)},
    "blur": {"radius": ("range", None, 0, 8)},
    "noise": {"deviation": ("range", None, 0, 1)},
    "erase": {
        "probability": _CHANCE,
        "area": ("range", [0.02, 0.33], 0, 1),
        "aspect": ("number", 3.3, 1, 16),
        "fill": _FILL,
    },
    "mixup": {"probability": ("number", 1, 0, 1), "share": ("range", [0.5, 1], 0, 1)},
    "cutmix": {"probability": ("number", 1, 0, 1), "area": ("range", [0, 0.5], 0, 1)},
    "substring": {"share": ("range", [0.5, 1], 0, 1)},
    "lowercase": {"probability": _CHANCE},
}


@dataclass(frozen=True)
class Operation:
    """One step; `parameters` are integers or pairs of integers, fractions in 65536ths."""

    name: str
    parameters: dict

    def __getitem__(self, parameter: str):
        return self.parameters[parameter]

    @property
    def mixes(self) -> bool:
        """Whether it takes in another sample."""
        return self.name in MIXING

    @property
    def canonical(self) -> dict:
        """The operation as a document, defaults written out."""

        def text(name, value):
            if _PARAMETERS[self.name][name][0] == "integer":
                return value
            if isinstance(value, tuple):
                return [f"{end}/{ONE}" for end in value]
            return f"{value}/{ONE}"

        return {"op": self.name} | {n: text(n, v) for n, v in self.parameters.items()}


class Recipe:
    """Operations in order; at most one of mixup and cutmix, at the end."""

    def __init__(self, document, source: str = "the recipe"):
        """Takes a document: what a manifest stores, or a parsed JSON or YAML file."""
        sound = isinstance(document, dict) and document.keys() == {"version", "operations"}
        demand(
            sound and isinstance(document["operations"], list),
            f"{source} must have the members 'version' and 'operations'",
        )
        demand(
            type(document["version"]) is int and document["version"] == 1,
            f"{source} has version {document['version']}, only 1 is known",
        )
        steps = document["operations"]
        demand(len(steps) <= 64, f"{source} has {len(steps)} operations, at most 64 are allowed")
        self.operations = tuple(
            _operation(step, f"{source}: operations[{index}]") for index, step in enumerate(steps)
        )
        demand(
            not any(operation.mixes for operation in self.operations[:-1]),
            f"{source}: an operation that takes in another sample must be the last one",
        )
        demand(
            not any(operation.name == "resized-crop" for operation in self.operations[1:]),
            f"{source}: resized-crop must be the first operation",
        )

    @classmethod
    def load(cls, path) -> "Recipe":
        """Reads a recipe file, JSON, or YAML where PyYAML is installed."""
        path = os.fspath(path)
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
            if path.endswith(".json"):
                return cls(json.loads(text), path)
            import yaml

            return cls(yaml.safe_load(text), path)
        except ImportError:
            raise LogitCacheError(f"reading {path} needs PyYAML: pip install pyyaml") from None
        except OSError as error:
            raise LogitCacheError(f"cannot read {path}: {error.strerror}") from None
        except Exception as error:
            if isinstance(error, LogitCacheError):
                raise
            raise LogitCacheError(f"{path} is not a recipe: {error}") from None

    @property
    def canonical(self) -> dict:
        """The recipe as a document with every default written out."""
        return {"version": 1, "operations": [step.canonical for step in self.operations]}

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical document's JSON."""
        return digest(canonical_json(self.canonical))


def _operation(step, place: str) -> Operation:
    name = step.get("op") if isinstance(step, dict) else None
    demand(name in _PARAMETERS, f"{place} has the unknown operation {name!r}")
    known = _PARAMETERS[name]
    foreign = sorted(step.keys() - known.keys() - {"op"})
    demand(not foreign, f"{place} has the unknown parameters {', '.join(foreign)}")
    values = {}
    for parameter, (kind, default, least, greatest) in known.items():
        given = step.get(parameter, default)
        where = f"{place}.{parameter}"
        demand(given is not None, f"{where} is missing")
        if kind == "integer":
            demand(
                type(given) is int and least <= given <= greatest,
                f"{where} must be an integer from {least} to {greatest}",
            )
            values[parameter] = given
        elif kind == "number":
            values[parameter] = _parts(given, least, greatest, where)
        else:
            values[parameter] = _range(given, least, greatest, where)
    return Operation(name, values)


def _range(given, least, greatest, where: str) -> tuple[int, int]:
    demand(isinstance(given, list) and len(given) == 2, f"{where} must be a list of two numbers")
    low, high = (_parts(end, least, greatest, where) for end in given)
    demand(low <= high, f"{where} must give the least value first")
    return low, high


def _parts(given, least, greatest, where: str) -> int:
    """A number, or text such as "32768/65536", in 65536ths: floor(65536 x + 1/2), exactly."""
    if isinstance(given, str) and given.endswith(f"/{ONE}"):
        digits = given.removesuffix(f"/{ONE}")
        parts = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 10 else -1
    elif type(given) in (int, float) and math.isfinite(given):
        parts = _nearest(given)
    else:
        parts = -1
    demand(
        _nearest(least) <= parts <= _nearest(greatest),
        f"{where} must be a number from {least} to {greatest}",
    )
    return parts


def _nearest(number) -> int:
    return math.floor(Fraction(number) * ONE + Fraction(1, 2))
