"""Several models side by side, as a table: those of a comparison, a sweep, or one training cut at other budgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lzero.recorder import Value
from lzero.report.words import UNKNOWN, count, duration, percent, plain

MOST_ROWS = 500
# Column of the rows -> its heading, how a cell is written, and whether it is a number.
_COLUMNS: dict[str, tuple[str, Callable[[Any], str], bool]] = {
    "method": ("method", plain, False),
    "measure": ("of", plain, False),
    "seed": ("seed", plain, True),
    "coefficient": ("λ", plain, True),
    "trainings": ("trainings", count, True),
    "asked": ("asked", percent, True),
    "before_settling": ("before settling", percent, True),
    "shipped": ("shipped", percent, True),
    "params": ("params", percent, True),
    "macs": ("MACs", percent, True),
    "parameters": ("parameters", count, True),
    "milliseconds": ("one forward", duration, True),
    "evaluation": ("evaluation", plain, True),
    "validation_error": ("validation error", percent, True),
    "error": ("test error", percent, True),
    "seconds": ("seconds", plain, True),
}


def title(rows: Sequence[Mapping[str, Value]]) -> str:
    """What these models are to each other."""
    return "One training, cut at other budgets" if cut(rows) else "Models side by side"


def cut(rows: Sequence[Mapping[str, Value]]) -> bool:
    """Whether they are all of one training, as the rows of a :class:`lzero.Front`."""
    return any(row.get("cut") for row in rows)


def head(rows: Sequence[Mapping[str, Value]]) -> list[tuple[str, bool]]:
    """The headings of the columns that the rows have, and whether they are numbers."""
    return [_COLUMNS[name][::2] for name in _names(rows)]


def body(rows: Sequence[Mapping[str, Value]]) -> list[list[str]]:
    """The cells in words, one list a row; no more rows than a page bears."""
    names = _names(rows)
    return [[_cell(row, name) for name in names] for row in rows[:MOST_ROWS]]


def _cell(row: Mapping[str, Value], name: str) -> str:
    value = row.get(name, UNKNOWN)
    return value if isinstance(value, str) else _COLUMNS[name][1](value)


def _names(rows: Sequence[Mapping[str, Value]]) -> list[str]:
    return [name for name in _COLUMNS if any(name in row for row in rows)]
