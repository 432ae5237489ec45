"""What is left of a model where every group keeps a share of its gates: the floor that no training gets below."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lzero.checks import choice, real
from lzero.errors import BudgetError
from lzero.plan.block import Block
from lzero.plan.group import GateGroup
from lzero.plan.ownership import elements_left, leaving, owners_of, slices_of, working
from lzero.plan.paths import covers, owner

Counted = Literal["params", "macs"]
_MEASURES: tuple[Counted, ...] = ("params", "macs")


@dataclass(frozen=True)
class Check:
    """Whether a density can be met; true where it can. ``print`` it to read it.

    Attributes:
        target: the density.
        measure: ``"params"`` or ``"macs"``.
        floor: the lowest density that the gates can reach.
        least: what every group keeps one of there, ``"unit"`` or ``"step"``.
    """

    target: float
    measure: Counted
    floor: float
    least: str = "unit"

    def __bool__(self) -> bool:
        """Whether the target is at the floor or above it."""
        return self.target >= self.floor

    def __str__(self) -> str:
        """One line."""
        what = f"{self.target:.4g} of the {self.measure}"
        if self:
            return f"{what}: satisfiable, the floor is {self.floor:.4g}"
        return (
            f"{what}: not satisfiable, what is not gated and one {self.least} of every group cost {self.floor:.4g}; "
            f"ask for at least {math.ceil(self.floor * 1e6) / 1e6:.6f}, or gate more"
        )


class Remainder:
    """Costs of a model by the share of its units or blocks that every group keeps.

    Args:
        ordered: groups in the order of :func:`lzero.plan.ownership.flat_order`.
        shapes: of the parameters.
        positions: how often each element of a weight is used in one forward, for MACs.
        steps: by group, how many of its units open at a time, if not one.
    """

    def __init__(
        self,
        ordered: Sequence[GateGroup],
        shapes: Mapping[str, Sequence[int]],
        positions: Mapping[str, float],
        steps: Mapping[str, int] | None = None,
    ) -> None:
        self._groups, self._shapes, self._positions = ordered, shapes, positions
        self._steps: Mapping[str, int] = {} if steps is None else steps

    def density(self, share: float, measure: Counted = "params") -> float:
        """The density that is left where every group keeps ``share`` of its units, rounded up, one step at least.

        Raises:
            BudgetError: a share outside [0, 1], or another measure.
        """
        left, whole = self._costs(share, measure), self._costs(1.0, measure)
        return sum(left.values()) / max(sum(whole.values()), 1)

    def check(self, target: float, measure: Counted = "params") -> Check:
        """Whether a ``target`` density can be met.

        Raises:
            BudgetError: a target outside (0, 1], or another measure.
        """
        expected = "a density in (0, 1], such as 0.1 for a tenth"
        asked = real("target", target, above=0, most=1, expected=expected, error=BudgetError)
        return Check(asked, measure, self.density(0.0, measure), self.least)

    @property
    def least(self) -> str:
        """What every group keeps one of at the floor: a unit, or the step by which some of them open."""
        return "step" if any(step > 1 for step in self._steps.values()) else "unit"

    def parts(self, measure: Counted = "params") -> dict[str, float]:
        """What the floor is made of: module path -> its share of the cost of the whole model, the largest first."""
        whole = max(sum(self._costs(1.0, measure).values()), 1)
        found: dict[str, float] = {}
        for name, cost in self._costs(0.0, measure).items():
            path = owner(name) or name
            found[path] = found.get(path, 0.0) + cost / whole
        return dict(sorted(found.items(), key=lambda part: -part[1]))

    def _costs(self, share: float, measure: Counted) -> dict[str, float]:
        """By tensor, what is left of it."""
        choice("measure", measure, _MEASURES, error=BudgetError)
        real("share", share, least=0, most=1, expected="a share of the units in [0, 1]", error=BudgetError)
        groups = working(self._groups) if measure == "macs" else self._groups
        uses = dict.fromkeys(self._shapes, 1.0) if measure == "params" else self._positions
        keep = self._units_kept(share)
        costs = self._left([group for group in groups if not group.blocks], keep, uses)
        keep |= _blocks_kept(groups, share, costs, self._shapes)
        return self._left(groups, keep, uses)

    def _left(
        self, groups: Sequence[GateGroup], keep: Mapping[str, Tensor], uses: Mapping[str, float]
    ) -> dict[str, float]:
        """By tensor, what ``keep`` leaves of it, each element as often as it is used."""
        left = elements_left([group for group in groups if group.kind != "weight"], keep, self._shapes)
        for group in groups:
            for member in group.members if group.kind == "weight" else ():  # its closed ones become zeros
                if left.get(member.tensor):
                    left[member.tensor] -= int((~keep[group.name]).sum()) * member.width
        return {name: count * float(uses.get(name, 0)) for name, count in left.items()}

    def _units_kept(self, share: float) -> dict[str, Tensor]:
        """By group the units that stay, bool [k]: its first, and of features those whose own unit stays."""
        owners, places = owners_of(self._groups, self._shapes), slices_of(self._groups)
        everything = torch.zeros(sum(group.size for group in self._groups), dtype=torch.bool)
        for group in self._groups:
            where = places[group.name]
            mine = everything[where]  # a view
            count = _count(share, group, self._steps.get(group.name, 1))
            if group.kind == "input" and owners is not None:
                owned = owners[where]
                possible = ((owned < 0) | everything[owned.clamp_min(0)]).nonzero().squeeze(1)
                mine[possible[:count]] = True
            else:
                mine[:count] = True
        return {group.name: everything[places[group.name]] for group in self._groups if not group.blocks}


def _blocks_kept(
    groups: Sequence[GateGroup], share: float, costs: Mapping[str, float], shapes: Mapping[str, Sequence[int]]
) -> dict[str, Tensor]:
    """By group the blocks that stay, bool [k]: the cheapest, and of branches those of blocks that do."""
    owners, places = owners_of(groups, shapes), slices_of(groups)
    open_ = torch.ones(sum(group.size for group in groups), dtype=torch.bool)
    gone: set[str] = set()
    free = [g for g in groups if g.blocks and (owners is None or bool((owners[places[g.name]] < 0).all()))]
    owned = [group for group in groups if group.blocks and group not in free]
    for group in (*sorted(free, key=_inner_first), *owned):
        where = places[group.name]
        price = [_price(block, () if group in owned else owned, share, costs, gone) for block in group.blocks]
        able = open_[where] if owners is None else (owners[where] < 0) | open_[owners[where]]
        order = torch.tensor(price, dtype=torch.float64).where(able, torch.inf).argsort(stable=True)
        able[order[_count(share, group) :]] = False
        open_[where] = able
        gone |= leaving([group], {group.name: able})
    return {group.name: open_[places[group.name]] for group in (*free, *owned)}


def _price(
    block: Block, inner: Sequence[GateGroup], share: float, costs: Mapping[str, float], gone: Collection[str]
) -> float:
    """What ``block`` costs where of every ``inner`` group the cheapest of its modules in it stay."""
    left = {*block.tensors} & costs.keys() - {*gone}
    price = 0.0
    for group in inner:
        within = [other for other in group.blocks if covers(block.path, other.path)]
        prices = sorted(sum(costs[name] for name in {*other.tensors} & left) for other in within)
        price += sum(prices[: max(1, math.ceil(share * len(within) - 1e-9))])
        left -= {name for other in within for name in other.tensors}
    return price + sum(costs[name] for name in left)


def _inner_first(group: GateGroup) -> int:
    return -min(block.path.count(".") for block in group.blocks)


def _count(share: float, group: GateGroup, step: int = 1) -> int:
    least = max(1, math.ceil(share * group.size - 1e-9))
    return min(math.ceil(least / step) * step, group.size)
