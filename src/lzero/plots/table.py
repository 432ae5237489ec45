"""Rows as columns: what every figure asks of its input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from lzero.errors import RecordError
from lzero.recorder import Recorder, Value

Rows: TypeAlias = Recorder | Sequence[Mapping[str, Value]]
Numbers: TypeAlias = npt.NDArray[np.float64]


def checked(rows: Rows, figure: str, needed: Sequence[str] = ()) -> list[dict[str, Value]]:
    """The rows as a list of dicts, every one of which has the `needed` columns.

    Raises:
        RecordError: there are no rows, or one lacks a needed column.
    """
    listed = [dict(row) for row in rows]
    if not listed:
        raise RecordError(
            f"plots.{figure}: no rows to draw; record at least one, or check that the CSV is the right one"
        )
    for number, row in enumerate(listed, 1):
        missing = [name for name in needed if row.get(name) is None]
        if missing:
            raise RecordError(f"plots.{figure}: row {number} has no {', '.join(missing)}; it has: {', '.join(row)}")
    return listed


def numbers(rows: Sequence[Mapping[str, Value]], name: str) -> Numbers:
    """The column as floats, one a row, NaN where it is missing.

    Raises:
        RecordError: a cell of that column is text.
    """
    values = [row.get(name) for row in rows]
    for value in values:
        if isinstance(value, str):
            raise RecordError(f"plots: column {name} holds the text {value!r}, expected numbers")
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def grouped(rows: Sequence[Mapping[str, Value]], name: str) -> dict[str, list[Mapping[str, Value]]]:
    """The rows by the text of one column, groups in first-seen order."""
    groups: dict[str, list[Mapping[str, Value]]] = {}
    for row in rows:
        groups.setdefault(str(row[name]), []).append(row)
    return groups
