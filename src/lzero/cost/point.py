"""The closed form itself: costs of all parts at one p, and their gradient, from sums over runs of gates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lzero.cost.timed import Timed
from lzero.gates.segments import Segments

_ROUNDING = 1e-12  # of milliseconds that are added up


@dataclass
class Shape:
    """Costs as P products of N axes, weighted for K parts: sum_P weight[k, P] prod_N S[sides[P, N]].

    An axis S is linear in [A_1 .. A_R], the sums of a_j over the runs, or in [A_1 .. A_R, B_1 .. B_R] with the sums of
    b_j = a_j (1 - p): C in all.

    Attributes:
        runs: the R runs of gates.
        base: float64 [A], ungated positions of every axis; matrix: float64 [A, C], positions of one gate of each run.
        sides: long [P, N], the axes of every product, N >= 2.
        weight: float64 [K, P].
        owner: long [G], the gate that owns each, -1 where none does; None where there are no owned gates.
        timed: what parts take that are counted by a table of latencies, in addition; None where there are none.
    """

    runs: Segments
    base: Tensor
    matrix: Tensor
    sides: Tensor
    weight: Tensor
    owner: Tensor | None
    timed: Timed | None = None

    def __post_init__(self) -> None:
        count = self.sides.shape[1]
        flat = self.sides.T.reshape(-1)  # first axes of all products, then the second ones
        self.all_bases = self.base[flat][:, None].contiguous()  # [N P, 1]
        self.all_sides = self.matrix[flat].contiguous()  # [N P, C]
        self.sides_by_sum = self.all_sides.T.contiguous()  # [C, N P]
        self.weights = self.weight.repeat(1, count).T.contiguous()  # [N P, K]
        # every product is found N times, and counted once
        self.once = torch.cat([self.weight, self.weight.new_zeros(len(self.weight), len(flat) - len(self.sides))], 1)
        self.others = torch.tensor([[m for m in range(count) if m != n] for n in range(count)])  # [N, N - 1]
        counts = (self.weights != 0).T.double() @ (self.all_sides != 0).double()
        seen = counts.view(len(self.weight), -1, len(self.runs.lengths)).sum(1) > 0
        if self.timed is not None:
            seen |= self.timed.pattern > 0
        self.pattern = seen.double()  # [K, R], what a part depends on
        self.met = self.matrix.shape[1] > len(self.runs.lengths)  # whether gates stand on several axes of a product
        self.everywhere = len(self.weight) == 1 and bool(seen.all())  # a single part that depends on every gate
        self.owned = None if self.owner is None else (self.owner >= 0).nonzero().squeeze(1)
        self.owner_of_owned = None if self.owner is None else self.owner[self.owned]

    def to(self, device: torch.device) -> None:
        """Move every table to ``device``, in place."""
        self.runs.to(device)
        if self.timed is not None:
            self.timed.to(device)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))

    def point(self, p: Tensor, deployed: Tensor | None = None) -> Point:
        """The costs at p, [G]; and those at ``deployed``, [R] sums over the runs of an open set."""
        alive = p if self.owner is None else p * self.of_owner(p)
        expected = self.runs.sums(alive)
        counted = self._counted(p, alive, expected, deployed)
        if self.timed is None:
            return counted
        value, slopes = self.timed.expected(expected)  # 0 for the parts that are counted, as those for the timed ones
        found = counted.value + value
        shipped = found if deployed is None else counted.deployed + self.timed.deployed(deployed[:, None])[:, 0]
        both = counted.slopes[:, : len(found)].clone()
        both[: len(slopes)] += slopes
        return Point(self, p, found, shipped, both)

    def _counted(self, p: Tensor, alive: Tensor, expected: Tensor, deployed: Tensor | None) -> Point:
        if self.met:
            expected = torch.cat([expected, self.runs.sums(alive * (1 - self._of_owner_or_self(p)))])
            if deployed is not None:  # of an open set p (1 - p) is 0
                deployed = torch.cat([deployed, torch.zeros_like(deployed)])
        sums = expected[:, None] if deployed is None else torch.stack([expected, deployed], 1)  # [C, E]
        axes = torch.addmm(self.all_bases, self.all_sides, sums)  # [N P, E]
        other = self._others(axes)
        value = torch.mm(self.once, axes * other)  # [K, E]
        if len(self.weight) > 1:
            other = other[:, :1]
        slopes = torch.mm(self.sides_by_sum, self.weights * other)  # [C, K], or [C, E] of a single part
        found = value.unbind(1)
        return Point(self, p, found[0], found[-1], slopes)

    def shipped(self, open_: Tensor) -> Tensor:
        """The costs of a deployed set, a mask [G]: float64 [K]."""
        p = open_.double()
        return self.point(p, self.runs.sums(p * self.of_owner(p))).deployed

    def rises(self, open_: Tensor) -> Tensor:
        """What each gate of timed parts would add to a deployed set, a mask [G], opened alone: float64 [K, G].

        It may add more where it owns open gates, which come with it; rounding is taken off.
        """
        if self.timed is None:
            return open_.new_zeros((len(self.weight), len(open_)), dtype=torch.float64)
        p = open_.double()
        theirs = self.of_owner(p)
        sums = self.runs.sums(p * theirs)[:, None]
        now = self.timed.deployed(sums)
        more = self.timed.deployed(sums + torch.eye(len(sums), dtype=sums.dtype, device=sums.device))
        rises = (more - now - _ROUNDING * now).clamp_min(0)  # [K, R]
        return self.runs.expand(rises.T).T * theirs

    def _others(self, axes: Tensor) -> Tensor:
        """For every axis of every product the product of its other ones, [N P, E] as ``axes``."""
        count = len(self.others)
        if count == 2:
            return axes.roll(len(axes) // 2, 0)
        each = axes.view(count, -1, axes.shape[1])
        return each[self.others].prod(1).view_as(axes)

    def spread(self, each: Tensor, p: Tensor) -> Tensor:
        """``each`` [R] for every gate of its run, [G], in the dtype of ``p``."""
        return self.runs.expand(each.to(p.dtype))

    def of_owner(self, p: Tensor) -> Tensor:
        """p [G] of the owner of every gate, 1 where it has none, [G]."""
        if self.owner is None:
            return torch.ones_like(p)
        return torch.where(self.owner < 0, 1.0, p[self.owner])

    def add_to_owners(self, out: Tensor, amounts: Tensor) -> Tensor:
        """``out`` [G, ...] with ``amounts`` [G, ...] of the owned gates added at their owners."""
        if self.owned is None or self.owner_of_owned is None:
            return out
        return out.index_add(0, self.owner_of_owned, amounts[self.owned])

    def _of_owner_or_self(self, p: Tensor) -> Tensor:
        return p if self.owner is None else torch.where(self.owner < 0, p, p[self.owner])


@dataclass(frozen=True, eq=False)
class Point:
    """Costs of K parts at one p.

    Attributes:
        shape: what they were computed by.
        p: [G]; gradients by p are of its dtype, all the rest is float64.
        value: float64 [K].
        deployed: float64 [K], of the deployed set that was asked for with it.
        slopes: float64 [C, K], d value / d A, and below it d value / d B; of a single part its first column.
    """

    shape: Shape
    p: Tensor
    value: Tensor
    deployed: Tensor
    slopes: Tensor

    def row(self) -> Tensor:
        """d value / d p of a single part, [G]."""
        if self.shape.owner is None and not self.shape.met:
            return self.shape.spread(self.slopes[:, 0], self.p)
        return self.pull(torch.ones_like(self.value))

    def pull(self, coefficients: Tensor) -> Tensor:
        """sum_k coefficients[k] d value_k / d p, [G], of ``coefficients`` [K]."""
        shape = self.shape
        by = torch.mv(self.slopes[:, : len(coefficients)], coefficients)
        by_sum, by_meeting = (by, None) if not shape.met else by.view(2, -1).unbind(0)
        by_sum = shape.spread(by_sum, self.p)  # d / d a_j
        by_meeting = None if by_meeting is None else shape.spread(by_meeting, self.p)  # d / d b_j
        if shape.owner is None:
            return by_sum if by_meeting is None else torch.addcmul(by_sum, by_meeting, 1 - 2 * self.p)
        theirs = shape.of_owner(self.p)
        out = by_sum * theirs
        to_owner = by_sum * self.p
        if by_meeting is not None:
            out = out + by_meeting * torch.where(shape.owner >= 0, theirs * (1 - theirs), 1 - 2 * self.p)
            to_owner = to_owner + by_meeting * self.p * (1 - 2 * theirs)
        return shape.add_to_owners(out, to_owner)

    def norms(self, weight: Tensor) -> Tensor:
        """Euclidean norm of each part's gradient times ``weight`` [G] elementwise, [K]."""
        shape = self.shape
        if shape.owner is not None:
            eye = torch.eye(len(self.value), dtype=self.value.dtype, device=self.value.device)
            return torch.stack([(self.pull(row) * weight).norm() for row in eye])
        square = weight * weight
        slopes = self.slopes[: len(shape.runs.lengths), : len(self.value)]
        total = torch.mv((slopes * slopes).T, shape.runs.sums(square))
        if shape.met:
            bent, both = 1 - 2 * self.p, self.slopes[len(slopes) :, : len(self.value)]
            total = total + 2 * torch.mv((slopes * both).T, shape.runs.sums(square * bent))
            total = total + torch.mv((both * both).T, shape.runs.sums(square * bent * bent))
        return total.clamp_min(0).sqrt()

    def restricted_norms(self, vector: Tensor) -> Tensor:
        """For each part the Euclidean norm of ``vector`` [G] over the gates that it depends on, [K]."""
        shape = self.shape
        if shape.owner is not None:
            covered = shape.runs.expand(shape.pattern.T)  # [G, K]
            covered = shape.add_to_owners(covered, covered).clamp_max(1.0)
            return torch.mv(covered.T, vector * vector).sqrt()
        return torch.mv(shape.pattern, shape.runs.sums(vector * vector)).sqrt()
