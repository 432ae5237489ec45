"""A plan laid out for counting: every tensor a product of two axes, every axis a sum over runs of gates.

A *run* is a stretch of consecutive gates of one group; features of gated channels are in one run as long as their
owners are in one group. All gates of a run own equally many positions of an axis, so that an axis is

    S = base + sum over runs of amount * A_run,    A_run = sum over its gates of a_j

where a_j = p_j, or p_j p_owner for a gate that another one owns. Nothing here is as long as the gates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise

import torch

from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.plan.group import Member
from lzero.plan.plan import Plan

Axis = tuple[float, tuple[tuple[int, float], ...]]  # base, and (run, amount) of the runs on it
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
        sides: the axes of its gated dims.
    """

    name: str
    rest: float
    sides: tuple[Axis, Axis]

    def meeting(self, runs: Sequence[Run]) -> dict[int, float]:
        """Run -> rows times columns, where the gates of a run stand on both sides: there p counts once, not squared."""
        found: dict[int, float] = {}
        for one, first in self.sides[0][1]:
            for two, second in self.sides[1][1]:
                if runs[one].owner == runs[two].owner:
                    owned = one if runs[one].owner != one else two
                    found[owned] = found.get(owned, 0.0) + first * second
        return found


def runs_of(gates: Gates) -> list[Run]:
    """The runs of ``gates``, in their flat order."""
    made: list[Run] = []
    at: dict[int, int] = {}  # first gate of a run that owns itself -> its number
    owners = gates.owners.cpu() if gates.owned else None
    starts = {where.start: number for number, where in enumerate(gates.slices.values())}
    group_at = (
        torch.repeat_interleave(torch.arange(len(gates.sizes)), torch.tensor(gates.sizes)) if gates.owned else None
    )
    first_gate = list(starts)
    for name, where in gates.slices.items():
        if owners is None or group_at is None or not bool((owners[where] >= 0).any()):
            at[where.start] = len(made)
            made.append(Run(name, where.start, where.stop, len(made)))
            continue
        of = torch.where(owners[where] >= 0, group_at[owners[where].clamp_min(0)], -1)  # the owner's group
        cuts = [0, *((of.diff() != 0).nonzero().squeeze(1) + 1).tolist(), len(of)]
        for begin, end in pairwise(cuts):
            group = int(of[begin])
            owner = len(made) if group < 0 else at[first_gate[group]]
            made.append(Run(name, where.start + begin, where.start + end, owner))
    return made


def entries_of(plan: Plan, runs: Sequence[Run]) -> list[Entry]:
    """The tensors of ``plan``.

    Raises:
        StructureError: a tensor with more than two gated dims.
    """
    by_group: dict[str, list[int]] = {}
    for number, run in enumerate(runs):
        by_group.setdefault(run.group, []).append(number)
    placed: dict[str, dict[int, list[tuple[str, str, Member]]]] = {}
    for group in plan.groups:
        for member in group.members:
            if member.tensor in plan.shapes:  # a buffer follows, and costs nothing
                placed.setdefault(member.tensor, {}).setdefault(member.dim, []).append((group.name, group.kind, member))
    made = []
    for name, shape in plan.shapes.items():
        dims = placed.get(name, {})
        if -1 in dims:  # weight gates: one axis over all elements
            dims, shape = {0: dims[-1]}, (math.prod(shape),)
        if len(dims) > 2:
            raise StructureError(f"{name}: more than two gated dims; pass it to ignore=")
        axes = [_axis(dims[dim], shape[dim], by_group) for dim in sorted(dims)]
        rest = float(math.prod(size for dim, size in enumerate(shape) if dim not in dims))
        first, second = [*axes, CONSTANT, CONSTANT][:2]
        made.append(Entry(name, rest, (first, second)))
    return made


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
