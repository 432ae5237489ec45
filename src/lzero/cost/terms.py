"""A plan laid out as terms: every tensor a product of two axes, every axis a sum over gates.

An *axis* counts the live positions of one dim: S = base + sum over terms of amount * p[first] * p[second], where a
unit gate and an input gate may meet on one position and ``NOBODY`` (the index G, with p = 1) stands for no gate.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.structure.plan import Plan

Owners = tuple[Tensor, Tensor]  # (unit gate, input gate) of every position of a dim, [n] each
Gated = tuple[Tensor, Tensor]  # distinct (unit gate, input gate) pairs [m, 2] and their counts [m]


class Terms:
    """The terms of a plan, as flat tensors over its T tensors, A axes and N terms.

    Attributes:
        names: the T parameter names.
        rest: float64 [T], product of the ungated dims.
        sides: long [T, 2], the axes of the gated dims; axis 0 is the constant 1.
        base: float64 [A], ungated positions of every axis.
        axis, first, second: long [N]; amount: float64 [N], the terms of the axes.
        both: float64 [M, 4], (tensor, gate, other gate, rows * columns) for gates on two dims of one tensor.
    """

    def __init__(self, plan: Plan, gates: Gates) -> None:
        self.names = list(plan.shapes)
        self.nobody = len(gates)
        owned = self._owned(plan, gates)
        base, rest, sides = [1.0], [], []
        terms: list[tuple[Tensor, Tensor]] = []  # (axis [m], pairs with count [m, 3])
        both: list[Tensor] = []
        for position, name in enumerate(self.names):
            shape, dims = plan.shapes[name], owned.get(name, {})
            if -1 in dims:  # weight gates: one axis over all elements
                shape, dims = (math.prod(shape),), {0: dims[-1]}
            if len(dims) > 2:
                raise StructureError(f"{name}: more than two gated dims; pass it to ignore=")
            axes, gated = [0, 0], []
            for place, dim in enumerate(sorted(dims)):
                pairs, count, free = self._distinct(dims[dim])
                axes[place] = len(base)
                terms.append((torch.full_like(count, len(base)), torch.cat([pairs, count[:, None]], 1)))
                base.append(float(free))
                gated.append((pairs, count))
            if len(gated) == 2:
                both.append(self._meeting(position, gated[0], gated[1]))
            rest.append(float(math.prod(size for dim, size in enumerate(shape) if dim not in dims)))
            sides.append(axes)
        columns = torch.cat([columns for _, columns in terms])
        self.base = torch.tensor(base, dtype=torch.float64)
        self.rest = torch.tensor(rest, dtype=torch.float64)
        self.sides = torch.tensor(sides)
        self.axis = torch.cat([axis for axis, _ in terms])
        self.first, self.second, self.amount = columns[:, 0], columns[:, 1], columns[:, 2].double()
        self.both = torch.cat(both) if both else torch.zeros(0, 4, dtype=torch.float64)

    def _owned(self, plan: Plan, gates: Gates) -> dict[str, dict[int, Owners]]:
        """tensor -> dim -> the gates of every position."""
        owned: dict[str, dict[int, Owners]] = {}
        for group in plan.groups:
            flat = torch.arange(gates.slices[group.name].start, gates.slices[group.name].stop)
            for member in group.members:
                if member.tensor not in plan.shapes:  # a buffer follows, and costs nothing
                    continue
                shape = plan.shapes[member.tensor]
                length = math.prod(shape) if member.dim < 0 else shape[member.dim]
                dims = owned.setdefault(member.tensor, {})
                if member.dim not in dims:
                    dims[member.dim] = (torch.full((length,), self.nobody), torch.full((length,), self.nobody))
                slot = dims[member.dim][1 if group.kind == "input" else 0]
                slot[member.index] = flat[:, None].expand(-1, member.width)
        return owned

    def _distinct(self, owners: Owners) -> tuple[Tensor, Tensor, int]:
        """Distinct gated (unit, input) pairs, [m, 2], how often each stands, [m], and the ungated positions."""
        pairs, count = torch.unique(torch.stack(owners, 1), dim=0, return_counts=True)
        free = (pairs == self.nobody).all(1)
        return pairs[~free], count[~free], int(count[free].sum())

    def _meeting(self, tensor: int, one: Gated, two: Gated) -> Tensor:
        """Gates that own positions on both dims, [M, 4]: p_j counts once there, not squared."""
        plain = one if bool((one[0][:, 1] == self.nobody).all()) else two  # input gates sit on one dim at most
        mixed = two if plain is one else one
        rows = torch.zeros(self.nobody + 1)
        rows[plain[0][:, 0]] = plain[1].float()
        rows[self.nobody] = 0
        amount = rows[mixed[0][:, 0]] * mixed[1]
        shared = amount > 0
        columns = [torch.full_like(amount, tensor), mixed[0][:, 0], mixed[0][:, 1], amount]
        return torch.stack([column.double() for column in columns], 1)[shared]
