"""Rows at several positions of a view: time steps, tokens, proposals."""

from dataclasses import dataclass

import numpy as np

from ..errors import demand

RULES = ("every", "nonblank", "best-nonblank")
# Of positions.
MOST = 4096


@dataclass(frozen=True)
class Positions:
    """Which positions are recorded, in the words of an ONNX teacher's configuration."""

    # One of RULES.
    rule: str
    # The class that means nothing, as CTC has one; left out of the rows unless it is kept.
    blank: int | None = None
    keeps_blank: bool = False

    def __post_init__(self):
        demand(
            self.rule in RULES, f"the rule is {self.rule!r}, it must be one of {', '.join(RULES)}"
        )
        demand(self.blank is None or self.blank >= 0, f"blank is {self.blank}, a class from 0")
        needs_blank = self.rule != "every"
        demand(not needs_blank or self.blank is not None, f"{self.rule} needs a blank")
        demand(self.rule == "nonblank" or not self.keeps_blank, "only nonblank keeps the blank")

    @property
    def removed(self) -> int | None:
        """The class that is left out."""
        return None if self.keeps_blank else self.blank

    @property
    def single(self) -> bool:
        """Whether one row of a view is recorded."""
        return self.rule == "best-nonblank"

    @property
    def identity(self) -> str:
        """Everything that decides which rows and classes there are."""
        blank = "" if self.blank is None else f", blank {self.blank}"
        return self.rule + blank + (" kept" if self.keeps_blank else "")

    def rows(self, given, count: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Rows [n, T, C] and which of them are recorded, bool [n, T]; None where all are.

        `given` is an array [n, T, C], or a pair of it and which positions count: how many of the
        first [n], or a mask [n, T].
        """
        rows, counting = given if isinstance(given, tuple) else (given, None)
        rows = self._checked(rows, count)
        mask = None if counting is None else _mask(np.asarray(counting), rows.shape[:2])
        if self.blank is None:
            return _classes(rows), mask
        others = np.delete(rows, self.blank, axis=2)
        if self.rule == "nonblank":
            # A row with NaN is no blank one: the program refuses it.
            speaks = ~(others.max(2) <= rows[:, :, self.blank])
            mask = speaks if mask is None else mask & speaks
        return _classes(rows if self.keeps_blank else others), mask

    def best(self, given, count: int, output: str) -> np.ndarray:
        """The rows [n, C] at the positions whose likeliest class other than blank is likeliest.

        Of equal ones the first. `given` is an array [n, T, C] of what `output` names.
        """
        demand(
            not isinstance(given, tuple),
            f"{self.rule} records one row of a view: give rows alone, without a mask or lengths",
        )
        rows = self._checked(given, count)
        others = np.delete(rows, self.blank, axis=2)
        scores = others.max(2).astype(np.float64)
        if output == "logits":
            largest = rows.max(2, keepdims=True).astype(np.float64)
            scores -= largest[:, :, 0] + np.log(np.exp(rows - largest).sum(2))
        return _classes(others)[np.arange(count), scores.argmax(1)]

    def _checked(self, given, count: int) -> np.ndarray:
        """Rows [n, T, C] that the settings fit."""
        rows = np.asarray(given)
        demand(
            rows.ndim == 3 and len(rows) == count,
            f"rows of shape {list(rows.shape)}, [{count}, positions, classes] is needed",
        )
        demand(
            2 <= rows.shape[1] <= MOST,
            f"rows of {rows.shape[1]} positions, there must be 2...{MOST}; leave out --positions "
            "where a view has one row",
        )
        demand(
            self.blank is None or self.blank < rows.shape[2],
            f"--blank is {self.blank}, there are {rows.shape[2]} classes",
        )
        return rows


def _classes(rows: np.ndarray) -> np.ndarray:
    demand(rows.shape[2] >= 2, f"rows of {rows.shape[2]} classes, there must be two or more")
    return rows


def _mask(counting: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A mask [n, T] from itself, or from how many of the first positions count [n]."""
    if counting.shape == shape:
        demand(((counting == 0) | (counting == 1)).all(), "a mask has other numbers than 0 and 1")
        return counting == 1
    demand(
        counting.shape == shape[:1],
        f"a mask or lengths of shape {list(counting.shape)}, {list(shape)} or [{shape[0]}] is "
        "needed",
    )
    demand(
        ((counting >= 0) & (counting <= shape[1]) & (counting == np.floor(counting))).all(),
        f"lengths in {counting.min()}...{counting.max()}; they are whole numbers in 0...{shape[1]}",
    )
    return np.arange(shape[1]) < counting[:, None]
