"""A table of latencies as JSON, and back: every entry is checked on the way."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from lzero.checks import shown
from lzero.entries import Entries
from lzero.errors import BudgetError
from lzero.latency.layer import Layer, Side

FORMAT = 1
_AGAIN = "measure it again with lzero.latency.measure"
_FIELDS = ("layers", "before", "device", "threads", "torch", "shapes", "checks")


def to_json(fields: Mapping[str, Any], *, lines: bool = False) -> str:
    """The ``fields`` of a table as JSON, with ``lines`` one layer a line; rounding is left to whoever measures."""
    layers = [_layer(layer) for layer in fields["layers"]]
    rest = {name: fields[name] for name in _FIELDS[1:]}
    head = json.dumps({"lzero latency": FORMAT, **rest}, separators=None if lines else (",", ":"))
    rows = [json.dumps(row, separators=(",", ":")) for row in layers]
    between = ",\n  " if lines else ","
    inside = between.join(rows)
    return f'{head[:-1]}{", " if lines else ","}"layers":[' + (f"\n  {inside}\n]}}\n" if lines else f"{inside}]}}")


def from_json(text: str, place: str) -> dict[str, Any]:
    """The fields of the table that :func:`to_json` wrote.

    Raises:
        BudgetError: anything else; the message begins with ``place``.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BudgetError(f"{place}: not readable as JSON ({type(error).__name__}); {_AGAIN}") from error
    read = _Reader(place, _AGAIN, BudgetError)
    found = read.table("the file", values)
    if found.get("lzero latency") != FORMAT or type(found.get("lzero latency")) is not int:
        raise BudgetError(f"{place}: expected a table of latencies of format {FORMAT}, found {shown(values)}; {_AGAIN}")
    if set(found) != {"lzero latency", *_FIELDS}:
        raise BudgetError(f"{place}: expected the entries {', '.join(_FIELDS)}, found {shown(sorted(found))}; {_AGAIN}")
    try:
        layers = tuple(read.layer(row) for row in read.row("layers", found["layers"]))
    except BudgetError as error:
        raise error if str(error).startswith(place) else BudgetError(f"{place}, {error}") from error
    return {
        "layers": layers,
        "before": read.number("before", found["before"]),
        "device": read.word("device", found["device"]),
        "threads": read.whole("threads", found["threads"]),
        "torch": read.word("torch", found["torch"]),
        "shapes": tuple(
            tuple(read.whole("shapes", n) for n in read.row("shapes", row))
            for row in read.row("shapes", found["shapes"])
        ),
        "checks": tuple(
            tuple(read.number("checks", value) for value in read.row("checks", row, 3))
            for row in read.row("checks", found["checks"])
        ),
    }


def _layer(layer: Layer) -> list[Any]:
    return [layer.path, layer.rows, layer.columns, layer.row_widths, layer.column_widths, layer.ms]


class _Reader(Entries):
    """What a table of latencies has."""

    def layer(self, value: object) -> Layer:
        path, rows, columns, row_widths, column_widths, ms = self.row("layers", value, 6)
        return Layer(
            self.word("layers", path),
            self.side(rows),
            self.side(columns),
            tuple(self.whole("widths", width) for width in self.row("widths", row_widths)),
            tuple(self.whole("widths", width) for width in self.row("widths", column_widths)),
            tuple(tuple(self.number("ms", item) for item in self.row("ms", row)) for row in self.row("ms", ms)),
        )

    def side(self, value: object) -> Side:
        triples = [self.row("layers", row, 3) for row in self.row("layers", value)]
        return tuple((self.word("layers", a), self.whole("layers", b), self.whole("layers", c)) for a, b, c in triples)

    def number(self, name: str, value: object) -> float:
        fits = type(value) in (int, float) and 0 <= value < math.inf  # type: ignore[operator]
        return float(value) if fits else self.wrong(name, "a finite number >= 0", value)  # type: ignore[arg-type]
