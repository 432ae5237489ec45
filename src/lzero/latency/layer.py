"""One layer of a table of latencies: what its forward takes at some widths, and between them."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lzero.errors import BudgetError

Side = tuple[tuple[str, int, int], ...]
"""Dims of tensors, (name, dim, length), whose widths are summed."""


@dataclass(frozen=True)
class Layer:
    """Milliseconds of one layer as a function of two widths, bilinear between those that were measured.

    The time of a forward that is spent in the layer, and behind it until the next one of the table begins.

    Attributes:
        path: of the module.
        rows: the dims that the first width is summed over: of a Linear or convolution what it makes.
        columns: the same of the second width: what it reads; empty where there is none.
        row_widths: [m], rising; the last one is the whole width, the sum of the lengths of ``rows``.
        column_widths: [n], the same for ``columns``; ``(0,)`` where there are none.
        ms: [m][n], never falling with either width.

    Raises:
        BudgetError: anything else.
    """

    path: str
    rows: Side
    columns: Side
    row_widths: tuple[int, ...]
    column_widths: tuple[int, ...]
    ms: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        for what, side, widths in (
            ("rows", self.rows, self.row_widths),
            ("columns", self.columns, self.column_widths),
        ):
            whole = sum(length for *_, length in side)
            if not widths or widths[0] < 0 or widths[-1] != whole or any(a >= b for a, b in pairwise(widths)):
                raise BudgetError(
                    f"{self.path}, widths of {what}: expected rising ones up to {whole}, found {list(widths)}"
                )
        if len(self.ms) != len(self.row_widths) or any(len(row) != len(self.column_widths) for row in self.ms):
            shape = f"{len(self.row_widths)} rows of {len(self.column_widths)}"
            raise BudgetError(f"{self.path}, ms: expected {shape} numbers, one for each pair of widths, found others")
        if any(not 0 <= value < math.inf for row in self.ms for value in row):
            raise BudgetError(f"{self.path}, ms: expected finite numbers >= 0, found others")
        if not (_never_falls(self.ms) and _never_falls(list(zip(*self.ms, strict=True)))):
            raise BudgetError(
                f"{self.path}, ms: expected numbers that never fall with a width, found some that do; "
                "lzero.latency.never_falling makes them such"
            )

    def predict(self, rows: float, columns: float) -> float:
        """Milliseconds at these widths, ``rows`` and ``columns``; below the smallest measured ones, what these take."""
        at, right = _cell(self.row_widths, rows)
        beside, down = _cell(self.column_widths, columns)
        above, below = (_between(self.ms[row][beside[0]], self.ms[row][beside[1]], down) for row in at)
        return _between(above, below, right)

    @property
    def total(self) -> float:
        """Milliseconds of the whole layer."""
        return self.ms[-1][-1]

    def knots(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Numbers of the row and column widths that a smooth curve goes through: without the upper ones of pairs."""
        return _apart(self.row_widths), _apart(self.column_widths)


def _never_falls(rows: Sequence[Sequence[float]]) -> bool:
    return all(a <= b for above, below in pairwise(rows) for a, b in zip(above, below, strict=True))


def _cell(widths: Sequence[int], width: float) -> tuple[tuple[int, int], float]:
    """The numbers of the measured widths around ``width``, and how far it is between them, in [0, 1]."""
    upper = min(max(bisect_right(widths, width), 1), len(widths) - 1)
    if len(widths) == 1:
        return (0, 0), 0.0
    low, high = widths[upper - 1], widths[upper]
    return (upper - 1, upper), min(max((width - low) / (high - low), 0.0), 1.0)


def _between(low: float, high: float, share: float) -> float:
    """The value at ``share`` of the way, exact at both ends, as ``torch.lerp`` computes it."""
    return low + share * (high - low) if share < 0.5 else high - (high - low) * (1 - share)


def _apart(widths: Sequence[int]) -> tuple[int, ...]:
    """Numbers of the widths but for the upper one of each two that stand together, apart from all others."""
    gaps = [2, *(high - low for low, high in pairwise(widths)), 2]  # before each width, and behind the last one
    upper = {n for n in range(1, len(widths) - 1) if gaps[n] == 1 and gaps[n - 1] > 1 and gaps[n + 1] > 1}
    return tuple(n for n in range(len(widths)) if n not in upper)
