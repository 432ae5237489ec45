"""Layer by layer before and after, as the lines of a table, and what was left whole with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lzero.recorder import Row
from lzero.report.words import amount, count
from lzero.table import Table

NOUNS = ("units", "inputs", "parameters", "macs")
MOST_LINES = 1000  # a page stays below two megabytes, and readable
MOST_PLACES = 40  # of one reason


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        name: of the layer, without its folder, or the folder itself.
        cells: one a noun: before and after; None where the layer has none. Empty for a folder.
        share: what is left of its parameters, or else of its units, in [0, 1]; None where it has neither.
        depth: 1 below a folder.
    """

    name: str
    cells: Sequence[tuple[str, str] | None] = ()
    share: float | None = None
    depth: int = 0


@dataclass(frozen=True)
class Refused:
    """One reason, and where it holds: names with units, and how many more there are that are not named."""

    reason: str
    places: Sequence[str]
    more: int


def nouns(table: Table) -> list[str]:
    """The columns that the table has."""
    return [noun for noun in NOUNS if any(row.get(f"{noun}_before") for row in table.rows)]


def lines(table: Table) -> list[Line]:
    """A line a layer, in the order of the model, under one for each folder; beyond many, one for all that follow."""
    shown, columns, folder = table.rows[:MOST_LINES], nouns(table), ""
    found = []
    for row in shown:
        path, _, leaf = str(row["layer"]).rpartition(".")
        if path not in (folder, ""):
            found.append(Line(path))
        folder = path
        found.append(_line(leaf if path else str(row["layer"]), row, columns, int(bool(path))))
    rest = table.rows[MOST_LINES:]
    if rest:
        found.append(_line(f"{len(rest):,} further layers", _sum(rest), columns, 0))
    return found


def total(table: Table) -> Line | None:
    """The sums of parameters and MACs; None where the table counts neither."""
    sums = {name: value for name, value in _sum(table.rows).items() if name.startswith(("parameters", "macs"))}
    return _line("all", sums, nouns(table), 0) if sums else None


def refused(table: Table) -> list[Refused]:
    """One entry a reason, in the order of the model."""
    places: dict[str, list[str]] = {}
    for row in table.refused:
        places.setdefault(str(row["reason"]), []).append(f"{row['layer']} ({count(int(row['units']))})")
    return [Refused(reason, names[:MOST_PLACES], max(0, len(names) - MOST_PLACES)) for reason, names in places.items()]


def _sum(rows: Sequence[Row]) -> Row:
    found: Row = {}
    for noun in NOUNS:
        for name in (f"{noun}_before", noun):
            values = [int(row[name]) for row in rows if row.get(f"{noun}_before")]
            if values:
                found[name] = sum(values)
    return found


def _line(name: str, row: Row, columns: Sequence[str], depth: int) -> Line:
    cells: list[tuple[str, str] | None] = []
    shares = {}
    for noun in columns:
        before, after = row.get(f"{noun}_before"), row.get(noun)
        if before is None or after is None or not before:
            cells.append(None)
            continue
        cells.append((amount(float(before)), amount(float(after))))
        shares[noun] = float(after) / float(before)
    return Line(name, cells, shares.get("parameters", shares.get("units")), depth)
