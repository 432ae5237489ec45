"""Expected and deployed cost of the model that will be shipped, in closed form.

An element of a tensor lives only if the units of all its dims do: what it reads, what it makes, its expert; and the
block that it stands in. With independent gates, gate j open with probability p_j and owning r_j positions of dim d:

    E[#tensor] = rest * product over gated dims d of (base_d + sum_j r_j p_j) * product over its blocks of p

and where gates stand on two dims, rows r_j and columns c_j, sum_j r_j c_j p_j (1 - p_j) times the other factors more:
there p_j counts once. Where an input gate i and a unit gate j meet on one position, it lives with p_i p_j. The same
form at p in {0, 1} counts the deployed model exactly. It is multilinear in p, so that its gradient at a deployed set is
what toggling one gate alone would change.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from lzero.cost.point import Point, Shape
from lzero.cost.table import CONSTANT, Axis, Entry, Run, entries_of, runs_of
from lzero.cost.timed import Timed
from lzero.errors import SolverError
from lzero.gates.gates import Gates
from lzero.gates.segments import Segments
from lzero.latency.table import Table, checked_table
from lzero.plan.group import GateGroup
from lzero.plan.paths import covers

Measure = Literal["params", "macs", "gates", "latency"]
COUNTED: tuple[Measure, ...] = ("params", "macs", "gates")
MEASURES: tuple[Measure, ...] = (*COUNTED, "latency")


class Cost:
    """Costs of K parts of a model as functions of its gate probabilities p, [G].

    Args:
        gates: attached gates; their flat order is that of p.
        measure: ``"params"`` counts parameters; ``"macs"`` multiply-accumulates of matrix products and convolutions in
            one forward of the example inputs; ``"gates"`` the gates that are alive; ``"latency"`` milliseconds, by a
            table. One for all parts, or one a part.
        parts: for each part its module paths (a path covers what is below it); ``[("",)]`` is the whole model.
        tables: for each part its table of latencies, None where it counts something else; or one for all.

    Attributes:
        total: float64 [K], the cost with every gate open, also of units that have left since.
    """

    total: Tensor

    def __init__(
        self,
        gates: Gates,
        measure: Measure | Sequence[Measure] = "params",
        parts: Sequence[Iterable[str]] = (("",),),
        tables: Table | Sequence[Table | None] | None = None,
    ) -> None:
        paths = [tuple(part) for part in parts]
        measures: list[Measure] = [measure] * len(paths) if isinstance(measure, str) else list(measure)
        held = list(tables) if isinstance(tables, Sequence) else [tables] * len(paths)
        self._parts, self._tables = list(zip(measures, paths, strict=True)), held
        self._count(gates)
        self.total = self.value(gates.log_alpha.new_ones(len(gates), dtype=torch.bool))
        if gates.whole is not None:
            self.total = Cost(Gates(gates.whole.plan), measures, paths, held).total.to(self.total)

    def of(self, gates: Gates) -> Cost:
        """The same costs, relative to the same totals, of what is left of the ``gates``."""
        made = copy.copy(self)
        made._count(gates)
        return made

    def _count(self, gates: Gates) -> None:
        runs = runs_of(gates)
        self._by_group = not gates.owned and len(runs) == len(gates.sizes)  # every run is a group, and none is owned
        self._shape = _shape(gates, runs, self._parts, self._tables)
        self._shape.to(gates.log_alpha.device)

    def to(self, device: torch.device) -> None:
        """Move the tables to ``device``, in place."""
        self._shape.to(device)
        self.total = self.total.to(device)

    def value(self, probability: Tensor) -> Tensor:
        """Cost of every part at p, ``probability`` [G], or an open mask, float64 [K], without a graph.

        Of a bool mask that of the deployed set. It makes no difference to what is counted; milliseconds of a set are
        the table's, those at probabilities the smooth ones of ``cost/timed.py``.
        """
        if self._shape.timed is not None and probability.dtype is torch.bool:
            return self._shape.shipped(probability)
        return self.at(probability).value

    def fraction(self, probability: Tensor) -> Tensor:
        """Cost of every part at ``probability`` [G], relative to all gates open, float64 [K], without a graph."""
        return self.value(probability) / self.total

    def at(self, probability: Tensor) -> Point:
        """The costs at ``probability`` [G], with their gradient."""
        return self._shape.point(probability.detach().double())

    def beside(self, p: Tensor, gates: Gates) -> Point:
        """The costs at ``p`` [G], and ``deployed`` those of the set that ``gates`` would ship at this p."""
        runs = self._shape.runs
        if not self._by_group or gates.estimator.apart:
            return self._shape.point(p, runs.sums(gates.open_mask().double()))
        return self._shape.point(p, runs.sums(p.round()).clamp_min(1.0))  # P > 1/2, and at least one a group

    @property
    def everywhere(self) -> bool:
        """Whether there is a single part, and it depends on every gate."""
        return self._shape.everywhere

    def gradient(self, probability: Tensor, part: int) -> Tensor:
        """d value / d p of one ``part``, by its number, at ``probability`` [G], float64 [G].

        At an open mask it is what toggling each gate alone changes, exactly where something is counted.
        """
        chosen = torch.zeros_like(self.total)
        chosen[part] = 1.0
        return self.at(probability).pull(chosen)

    def price(self, open_: Tensor, part: int) -> Tensor:
        """What opening each closed gate alone adds to one ``part`` of a deployed set ``open_``, bool [G]; float64 [G].

        Of milliseconds it may be more, where gates that it owns are open and come with it.
        """
        return self._shape.rises(open_)[part] if self.is_timed(part) else self.gradient(open_, part)

    def is_timed(self, part: int) -> bool:
        """Whether ``part`` is in milliseconds: opening one gate can make another cheaper, where it takes a step."""
        return self._shape.timed is not None and self._shape.timed.parts[part]

    def expected(self, probability: Tensor) -> Tensor:
        """Fractions [K], differentiable in ``probability`` [G] by the closed form."""
        fraction: Tensor = _Closed.apply(probability, self.at(probability), self.total)  # type: ignore[no-untyped-call]
        return fraction


class _Closed(torch.autograd.Function):
    """A point's fractions with its gradient."""

    @staticmethod
    def forward(ctx: Any, probability: Tensor, point: Point, total: Tensor) -> Tensor:
        ctx.point, ctx.total, ctx.dtype = point, total, probability.dtype
        return point.value / total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise SolverError("the expected cost has no second derivative: leave create_graph=True out")
        return ctx.point.pull(grad / ctx.total).to(ctx.dtype), None, None


def _shape(
    gates: Gates,
    runs: Sequence[Run],
    parts: Sequence[tuple[str, tuple[str, ...]]],
    tables: Sequence[Table | None],
) -> Shape:
    """Products of axes with what each part counts of them; tensors on the same axes are one product."""
    measures = dict.fromkeys(measure for measure, _ in parts)
    entries = {measure: entries_of(gates.plan, runs, macs=measure in ("macs", "latency")) for measure in measures}
    timed = [(checked_table(measure, table), paths) for (measure, paths), table in zip(parts, tables, strict=True)]
    products: dict[tuple[Axis, ...], int] = {}
    weights: list[tuple[int, int, float]] = []  # part, product, how much
    for number, (measure, paths) in enumerate(parts):
        if measure == "latency":
            continue
        counted = _gate_entries(gates, runs, paths) if measure == "gates" else _inside(entries[measure], paths)
        for entry in counted:
            uses = float(gates.plan.positions.get(entry.name, 0)) if measure == "macs" else 1.0
            for product in entry.products(runs) if uses else ():
                place = products.setdefault(tuple(sorted(product)), len(products))
                weights.append((number, place, uses * entry.rest))
    count = max((len(product) for product in products), default=0)
    padded = [(*product, *[CONSTANT] * (max(count, 2) - len(product))) for product in products or [()]]
    axes = {axis: place for place, axis in enumerate(dict.fromkeys(axis for product in padded for axis in product))}
    met = any(run >= len(runs) for _, terms in axes for run, _ in terms)
    base = torch.tensor([axis[0] for axis in axes], dtype=torch.float64)
    matrix = torch.zeros(len(axes), len(runs) * (2 if met else 1), dtype=torch.float64)
    for (_, terms), place in axes.items():
        for run, amount in terms:
            matrix[place, run] = amount
    sides = torch.tensor([[axes[axis] for axis in product] for product in padded])  # [P, N]
    weight = torch.zeros(len(parts), len(padded), dtype=torch.float64)
    for number, place, amount in weights:
        weight[number, place] += amount
    owner = gates.owners if gates.owned else None
    plan = gates.plan if gates.whole is None else gates.whole.plan  # a table is of the model as it was
    clocks = Timed(timed, entries["latency"], plan, runs) if "latency" in entries else None
    return Shape(Segments([run.stop - run.start for run in runs]), base, matrix, sides, weight, owner, clocks)


def _inside(entries: Sequence[Entry], paths: tuple[str, ...]) -> list[Entry]:
    return [entry for entry in entries if any(covers(path, entry.name) for path in paths)]


def _gate_entries(gates: Gates, runs: Sequence[Run], paths: tuple[str, ...]) -> list[Entry]:
    """One entry for the gates that multiply a tensor of the part, or switch a block of it, each of which counts 1."""
    names = {
        group.name
        for group in gates.plan.groups
        if any(covers(path, name) for name in _switched_at(group) for path in paths)
    }
    blocks = {
        gates.slices[group.name].start + gate
        for group in gates.plan.groups
        for gate, block in enumerate(group.blocks)
        if any(covers(path, block.path) for path in paths)
    }
    inside = [number for number, run in enumerate(runs) if run.group in names or run.start in blocks]
    return [Entry("", 1.0, ((0.0, tuple((number, 1.0) for number in inside)),))]


def _switched_at(group: GateGroup) -> list[str]:
    """The tensors that the gates of ``group`` multiply, or whose product they add to."""
    return [*(member.tensor for member in group.consumers), *([group.router.tensor] if group.router else [])]
