"""What could be gated, layer by layer, before anything is trained: units, parameters, MACs, and what stays for good."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from lzero.fold import fold, unfolded
from lzero.layer_rows import LayerRows, NamedLayer
from lzero.listing import Cell, Column, Listing, by_reason, fitting, number, share
from lzero.plan.group import GateGroup
from lzero.plan.paths import owner
from lzero.plan.refusal import Refusal
from lzero.plan.remainder import Counted, Remainder

_MEASURES: tuple[Counted, ...] = ("params", "macs")
_GATES = ("units", "inputs")
_HEADINGS = ("parameters", "share", "floor", "MACs", "share", "floor")


@dataclass(frozen=True)
class PlanLayer(NamedLayer):
    """One layer of a model, as it could be gated.

    Attributes:
        parameters: of it.
        parameters_floor: of them those that stay where every group keeps one unit, or one step.
        macs: multiply-accumulates of it, of one forward of the example inputs.
        macs_floor: the same of what stays.
        units: gates on what it makes; None where there are none.
        inputs: gates on what it alone reads; None where there are none.
    """

    parameters: int
    parameters_floor: int
    macs: int
    macs_floor: int
    units: int | None = None
    inputs: int | None = None


@dataclass(frozen=True)
class PlanTable(LayerRows):
    """What could be gated, layer by layer; ``print`` it to read it.

    Attributes:
        layers: in the order of the model.
        refusals: units that are left ungated, and why.
    """

    layers: tuple[PlanLayer, ...]
    refusals: tuple[Refusal, ...]

    def to_markdown(self, *, folded: bool = True) -> str:
        """The layers as a table in Markdown; alike ones on one line where ``folded``."""
        return self._listing(folded, short=False).markdown()

    def text(self, *, folded: bool = True) -> str:
        """The page that ``print`` shows; with ``folded=False`` every layer has a line of its own."""
        lines = fitting(lambda short: self._listing(folded, short))
        return "\n".join([*lines, *left_whole(self.refusals)])

    def __str__(self) -> str:
        return self.text()

    def _listing(self, folded: bool, short: bool) -> Listing:
        names = [layer.name for layer in self.layers]
        keys = [tuple(asdict(layer).values())[1:] for layer in self.layers]
        places = fold(names, keys) if folded else unfolded(names)
        shown = [noun for noun in _GATES if any(getattr(layer, noun) is not None for layer in self.layers)]
        sums = {name: self.total(name) for name in ("parameters", "parameters_floor", "macs", "macs_floor")}

        def cells(row: Mapping[str, int | None]) -> list[Cell]:
            made: list[Cell] = [() if row.get(noun) is None else (number(row[noun] or 0),) for noun in shown]
            for noun in ("parameters", "macs"):
                count, least = row[noun] or 0, row[f"{noun}_floor"] or 0
                texts = (number(count, short=short), share(count, sums[noun]), share(least, count))
                made += [(text,) for text in texts] if count else [()] * len(texts)
            return made

        columns = [Column(heading) for heading in (*shown, *_HEADINGS)]
        found = [cells(asdict(self.layers[place.members[0]])) for place in places]
        return Listing(columns, places, found, [False] * len(places), cells({**sums}))


def plan_table(
    groups: Sequence[GateGroup],
    refusals: Sequence[Refusal],
    shapes: Mapping[str, Sequence[int]],
    positions: Mapping[str, float],
    remainder: Remainder,
) -> PlanTable:
    """The table of a plan of these ``groups``; ``remainder`` counts its floor."""
    elements = {name: math.prod(shape) for name, shape in shapes.items()}
    sizes = {group.name: group.size for group in groups}
    gates = {noun: gates_on(groups, kind) for noun, kind in zip(_GATES, ("unit", "input"), strict=True)}
    counts: dict[str, dict[str, float]] = {}  # measure -> layer -> its cost
    for measure in _MEASURES:
        counts[measure] = {
            path: sum(elements[name] * (1 if measure == "params" else positions.get(name, 0)) for name in names)
            for path, names in layers_of(shapes).items()
        }
    floors = {measure: remainder.parts(measure) for measure in _MEASURES}
    totals = {measure: sum(counts[measure].values()) for measure in _MEASURES}

    def floor(path: str, measure: Counted) -> int:
        return round(floors[measure].get(path, 0.0) * totals[measure])

    layers = [
        PlanLayer(
            name=path,
            parameters=round(counts["params"][path]),
            parameters_floor=floor(path, "params"),
            macs=round(counts["macs"][path]),
            macs_floor=floor(path, "macs"),
            **{noun: sum(sizes[name] for name in on[path]) for noun, on in gates.items() if path in on},
        )
        for path in layers_of(shapes)
    ]
    return PlanTable(tuple(layers), tuple(refusals))


def layers_of(shapes: Iterable[str]) -> dict[str, list[str]]:
    """Layer -> its parameters: the path of a module, or the name of a parameter of the model itself."""
    found: dict[str, list[str]] = {}
    for name in shapes:
        found.setdefault(owner(name) or name, []).append(name)
    return found


def gates_on(groups: Iterable[GateGroup], kind: str) -> dict[str, list[str]]:
    """Layer -> the groups of this kind on what it makes, or, of inputs, on what it reads."""
    found: dict[str, list[str]] = {}
    for group in groups:
        members = [m for m in group.members if kind == "input" or m.role != "consumer"] if group.kind == kind else []
        for layer in dict.fromkeys(owner(member.tensor) or member.tensor for member in members):
            found.setdefault(layer, []).append(group.name)
    return found


def left_whole(refusals: Sequence[Refusal]) -> list[str]:
    """A paragraph for each reason, with the places that it holds for and what would help."""
    said = [(f"left whole, {r.reason}{f'; {r.advice}' if r.advice else ''}", r.name, r.size) for r in refusals]
    return by_reason([one for one, refusal in zip(said, refusals, strict=True) if refusal.reason])
