"""A plan laid out for counting: every tensor a product of axes, every axis a sum over runs of gates.

A *run* is a stretch of consecutive gates of one group; features of gated channels are in one run as long as their
owners are in one, and a gate of a whole block is a run of its own. All gates of a run own equally many positions of an
axis, so that an axis is

    S = base + sum over runs of amount * A_run,    A_run = sum over its gates of a_j

where a_j = p_j, or p_j p_owner for a gate that another one owns. A block that a tensor leaves with is an axis p_block.
Where the same gates stand on two axes of a tensor, p_j counts once and not squared: one more product, with

    sum over runs of amount * amount' * B_run,    B_run = sum over its gates of b_j = a_j (1 - p)

in place of the two, p of the owner where there is one. Nothing here is as long as the gates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations, pairwise

import torch

from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.plan.group import Member
from lzero.plan.ownership import working
from lzero.plan.plan import Plan

Axis = tuple[float, tuple[tuple[int, float], ...]]  # base, and (run, amount) of the runs on it; B of run r is R + r
Pair = tuple[int, int]
CONSTANT: Axis = (1.0, ())


@dataclass(frozen=True)
class Run:
    """Gates ``start`` to ``stop`` of the flat order.

    Attributes:
        group: name of their group.
        owner: number of the run that owns these gates; its own number where none does.
    """

    group: str
    start: int
    stop: int
    owner: int


@dataclass(frozen=True)
class Entry:
    """One tensor of a plan.

    Attributes:
        name: of the parameter.
        rest: product of the ungated dims.
        axes: of its gated dims, in their order, and of the blocks that it leaves with.
        dims: the gated dims; -1 for a gate of every element.
    """

    name: str
    rest: float
    axes: tuple[Axis, ...]
    dims: tuple[int, ...] = ()

    def along(self, dim: int, length: int) -> Axis:
        """The axis of ``dim``, which has that ``length``."""
        return self.axes[self.dims.index(dim)] if dim in self.dims else (float(length), ())

    @property
    def blocks(self) -> tuple[Axis, ...]:
        """The axes of the blocks that it leaves with."""
        return self.axes[len(self.dims) :]

    def products(self, runs: Sequence[Run]) -> list[tuple[Axis, ...]]:
        """The products of axes that add up to its expected share, ``rest`` apart.

        Raises:
            StructureError: the gates of one run on more than two axes.
        """
        meetings = self._meetings(runs)
        made = []
        for pairs in _disjoint(sorted(meetings)):
            met = {axis for pair in pairs for axis in pair}
            alone = [axis for number, axis in enumerate(self.axes) if number not in met]
            made.append((*alone, *(meetings[pair] for pair in pairs)))
        return made

    def _meetings(self, runs: Sequence[Run]) -> dict[Pair, Axis]:
        """Of every two axes that gates stand on both of, the axis of what meets there."""
        on: dict[int, list[int]] = {}  # run that owns itself -> the axes that it or what it owns stands on
        for number, (_, terms) in enumerate(self.axes):
            for owner in {runs[run].owner for run, _ in terms}:
                on.setdefault(owner, []).append(number)
        found: dict[Pair, dict[int, float]] = {}
        for owner, places in on.items():
            if len(places) > 2:
                group = runs[owner].group
                raise StructureError(f"{self.name}: the gates of {group} on three of its dims; pass it to ignore=")
            if len(places) == 2:
                amounts = found.setdefault((places[0], places[1]), {})
                for run, amount in self._met(runs, owner, places):
                    amounts[len(runs) + run] = amounts.get(len(runs) + run, 0.0) + amount
        return {pair: (0.0, tuple(sorted(amounts.items()))) for pair, amounts in found.items()}

    def _met(self, runs: Sequence[Run], owner: int, places: Sequence[int]) -> Iterator[tuple[int, float]]:
        """The run whose gates are alive where two that ``owner`` owns meet, with amount times amount."""
        first, second = ([term for term in self.axes[at][1] if runs[term[0]].owner == owner] for at in places)
        for one, here in first:
            for two, there in second:
                if one != owner and two != owner:
                    group = runs[one].group
                    raise StructureError(f"{self.name}: owned gates of {group} on two of its dims; pass it to ignore=")
                yield two if one == owner else one, here * there


def _disjoint(pairs: Sequence[Pair]) -> Iterator[tuple[Pair, ...]]:
    """Every set of ``pairs`` without a common member, the empty one first."""
    for count in range(len(pairs) + 1):
        for chosen in combinations(pairs, count):
            if len({axis for pair in chosen for axis in pair}) == 2 * count:
                yield chosen


def runs_of(gates: Gates) -> list[Run]:
    """The runs of ``gates``, in their flat order."""
    made: list[Run] = []
    single = {group.name for group in gates.plan.groups if group.blocks}
    owners = gates.owners.cpu() if gates.owned else None
    run_of = torch.empty(0 if owners is None else len(gates), dtype=torch.long)
    for name, where in gates.slices.items():
        size = where.stop - where.start
        cuts = list(range(size + 1)) if name in single else [0, size]
        of = None  # the run that owns each gate, -1 where none does
        if owners is not None:
            of = torch.where(owners[where] >= 0, run_of[owners[where].clamp_min(0)], -1)
            cuts = sorted({*cuts, *((of.diff() != 0).nonzero().squeeze(1) + 1).tolist()})
        for begin, end in pairwise(cuts):
            owner = -1
            if of is not None:
                owner = int(of[begin])
                run_of[where.start + begin : where.start + end] = len(made)
            made.append(Run(name, where.start + begin, where.start + end, len(made) if owner < 0 else owner))
    return made


def entries_of(plan: Plan, runs: Sequence[Run], *, macs: bool = False) -> list[Entry]:
    """The tensors of ``plan``; for ``macs`` without the experts that leave their work to others."""
    by_group: dict[str, list[int]] = {}
    for number, run in enumerate(runs):
        by_group.setdefault(run.group, []).append(number)
    placed: dict[str, dict[int, list[tuple[str, str, Member]]]] = {}
    leaving: dict[str, list[int]] = {}  # tensor -> the runs of the blocks that it leaves with
    for group in working(plan.groups) if macs else plan.groups:
        for member in group.members:
            if member.tensor in plan.shapes:  # a buffer follows, and costs nothing
                placed.setdefault(member.tensor, {}).setdefault(member.dim, []).append((group.name, group.kind, member))
        for block, number in zip(group.blocks, by_group[group.name], strict=True) if group.blocks else ():
            for tensor in block.tensors:
                leaving.setdefault(tensor, []).append(number)
    made = []
    for name, shape in plan.shapes.items():
        dims = placed.get(name, {})
        gated = (-1,) if -1 in dims else tuple(sorted(dims))
        if -1 in dims:  # weight gates: one axis over all elements
            dims, shape = {0: dims[-1]}, (math.prod(shape),)
        axes = [_axis(dims[dim], shape[dim], by_group) for dim in sorted(dims)]
        rest = float(math.prod(size for dim, size in enumerate(shape) if dim not in dims))
        made.append(Entry(name, rest, (*axes, *_factors(leaving.get(name, []), runs)), gated))
    return made


def _factors(leaving: Sequence[int], runs: Sequence[Run]) -> list[Axis]:
    """One axis a block; a gate that another one owns is closed with it, and counts for both."""
    owners = {runs[run].owner for run in leaving if runs[run].owner != run}
    return [(0.0, ((run, 1.0),)) for run in dict.fromkeys(leaving) if run not in owners]


def _axis(members: Sequence[tuple[str, str, Member]], length: int, by_group: dict[str, list[int]]) -> Axis:
    """The axis of one dim: an input gate takes its positions over from the unit gate that stands there too."""
    masks = [member.owned(length) for _, _, member in members]
    none = torch.zeros(length, dtype=torch.bool)
    by_inputs = (mask for mask, (_, kind, _) in zip(masks, members, strict=True) if kind == "input")
    taken = reduce(torch.logical_or, by_inputs, none)
    amounts: dict[int, float] = {}
    for mask, (name, kind, member) in zip(masks, members, strict=True):
        free = member.width if kind == "input" or not bool((taken & mask).any()) else 0
        for run in by_group[name] if free else ():
            amounts[run] = amounts.get(run, 0.0) + free
    gated = reduce(torch.logical_or, masks, none)
    return float(length - int(gated.sum())), tuple(sorted(amounts.items()))
