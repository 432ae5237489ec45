"""What purging did, layer by layer: units, parameters and MACs before and after, and what was left whole and why."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from lzero.cost import Cost, Measure
from lzero.gates.gates import Gates
from lzero.plan.paths import owner
from lzero.plan.plan import Plan
from lzero.recorder import Recorder, Row

_WIDTH = 100  # characters of a line
_COUNTS = ("units", "inputs", "parameters", "macs")


@dataclass(frozen=True, eq=False)
class Table:
    """One row a layer, to print or to write.

    Attributes:
        rows: ``layer`` (its path, or the name of a parameter of the model itself), and ``parameters_before``,
            ``parameters``, ``macs_before``, ``macs`` of it; where gates stand on what it makes, ``units_before`` and
            ``units``; where some stand on what it alone reads, ``inputs_before`` and ``inputs``. Weights purged to zero
            do not count.
        refused: units that were left whole: ``layer``, ``units`` and the ``reason``.
        size_before: bytes of all tensors of the state dict before.
        size: the same of the purged model.
    """

    rows: Sequence[Row]
    refused: Sequence[Row]
    size_before: int
    size: int

    @classmethod
    def of(cls, gates: Gates, open_: Tensor, size_before: int, size: int) -> Table:
        """That of ``gates`` purged to ``open_``, bool [G]; ``size_before`` and ``size`` are bytes of all tensors."""
        plan, kept = gates.plan, gates.split(open_)
        if gates.whole is not None:  # units have left before
            plan, kept = gates.whole.plan, gates.whole.masks(open_)
        parts: dict[str, list[str]] = {}  # layer -> its parameters
        for name in plan.shapes:
            parts.setdefault(owner(name) or name, []).append(name)
        count = len(parts)
        measures: list[Measure] = [*["params"] * count, *["macs"] * count]  # type: ignore[list-item]
        cost = Cost(gates, measures, [*parts.values()] * 2)
        left = [round(value) for value in cost.value(open_).tolist()]
        all_ = [round(value) for value in cost.total.tolist()]
        units, inputs = _stands(plan, "unit"), _stands(plan, "input")
        rows: list[Row] = []
        for number, layer in enumerate(parts):
            row: Row = {"layer": layer}
            for noun, groups in (("units", units.get(layer)), ("inputs", inputs.get(layer))):
                if groups:
                    row[f"{noun}_before"] = sum(len(kept[name]) for name in groups)
                    row[noun] = sum(int(kept[name].sum()) for name in groups)
            for noun, at in (("parameters", number), ("macs", count + number)):
                row[f"{noun}_before"], row[noun] = all_[at], left[at]
            if not row["parameters"] and row["parameters_before"]:  # it has left with a block
                row |= {noun: 0 for noun in ("units", "inputs") if noun in row}
            rows.append(row)
        refused: list[Row] = [{"layer": r.name, "units": r.size, "reason": r.reason} for r in plan.refusals if r.reason]
        return cls(rows, refused, size_before, size)

    def recorder(self) -> Recorder:
        """The rows as a table that is written as CSV."""
        recorder = Recorder()
        for row in self.rows:
            recorder.append(**row)
        return recorder

    def total(self, name: str) -> int:
        """The sum of the column ``name``, such as ``"macs_before"``."""
        return sum(int(row.get(name, 0)) for row in self.rows)

    def __str__(self) -> str:
        shown = [noun for noun in _COUNTS if any(noun in row for row in self.rows)]
        sums: Row = {f"{noun}{end}": self.total(f"{noun}{end}") for noun in _COUNTS[2:] for end in ("_before", "")}
        lines = [["", *("MACs" if noun == "macs" else noun for noun in shown)]]
        folder = ""
        for row in self.rows:
            path, _, leaf = str(row["layer"]).rpartition(".")
            if path not in (folder, ""):
                lines.append([path])
            folder = path
            lines.append([f"  {leaf}" if path else leaf, *_cells(row, shown)])
        lines.append(["all", *_cells(sums, shown)])
        widths = [max(len(line[i]) for line in lines if len(line) > 1) for i in range(len(shown) + 1)]
        text = [_line(line, widths) for line in lines]
        text.append(f"tensors: {_bytes(self.size_before)} -> {_bytes(self.size)}")
        return "\n".join([*text, *_reasons(self.refused)])


def _stands(plan: Plan, kind: str) -> Mapping[str, list[str]]:
    """Layer -> the groups of this kind on what it makes, or, of inputs, on what it reads."""
    found: dict[str, list[str]] = {}
    for group in plan.groups:
        members = [m for m in group.members if kind == "input" or m.role != "consumer"] if group.kind == kind else []
        for layer in dict.fromkeys(owner(member.tensor) or member.tensor for member in members):
            found.setdefault(layer, []).append(group.name)
    return found


def _cells(row: Row, nouns: Sequence[str]) -> list[str]:
    cells = []
    for noun in nouns:
        before, after = row.get(f"{noun}_before"), row.get(noun)
        both = before is not None and after is not None and before != 0
        cells.append(f"{_number(int(before))} -> {_number(int(after))}" if both else "")  # type: ignore[arg-type]
    return cells


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    if len(cells) == 1:  # a folder
        return cells[0] if len(cells[0]) <= _WIDTH else f"…{cells[0][1 - _WIDTH :]}"
    columns = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
    return "  ".join([cells[0].ljust(widths[0]), *columns]).rstrip()


def _number(value: int) -> str:
    """Exact below ten millions, four digits above."""
    if value < 10**7:
        return f"{value:,}"
    return f"{value / 1e9:.4g} G" if value >= 10**9 else f"{value / 1e6:.4g} M"


def _bytes(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"


def _reasons(refused: Sequence[Row]) -> list[str]:
    """One paragraph a reason, with the places that it holds for."""
    places: dict[str, list[str]] = {}
    for row in refused:
        places.setdefault(str(row["reason"]), []).append(f"{row['layer']} ({row['units']:,})")
    lines = []
    for reason, names in places.items():
        text = f"left whole, {reason}: {', '.join(names)}"
        lines += textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    return lines
