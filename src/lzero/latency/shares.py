"""Narrow models, even and uneven ones: what whole forwards are timed on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lzero.host.copies import linked_copy
from lzero.host.inputs import ExampleInputs
from lzero.host.wrappers import restore_forward
from lzero.latency.layer import Side
from lzero.plan.ownership import alive_positions
from lzero.plan.plan import Plan
from lzero.surgery.shrink import shrink

_TENTH, _UNEVEN = 0.1, 4  # the share that every group of one of them keeps, and how many keep other shares of each
_GOLDEN = (math.sqrt(5) - 1) / 2
_WIDTHS = ("unit", "input")  # the kinds of groups that narrow layers


@dataclass(frozen=True, eq=False)
class Narrow:
    """One of the models.

    Attributes:
        share: of the units of its groups that it keeps, the mean over these.
        model: plain.
        widths: path of a layer -> the widths of its rows and columns.
    """

    share: float
    model: nn.Module
    widths: Mapping[str, tuple[int, int]]


def narrow_models(
    model: nn.Module, plan: Plan, inputs: ExampleInputs, sides: Mapping[str, tuple[Side, Side]]
) -> list[Narrow]:
    """``model`` itself, and narrow ones that share its weights; those that do not run are left out.

    One keeps a tenth of every group. Of the others each group keeps shares that are spread over [0, 1] from one to the
    next, and differ from those of its neighbours: so widths are odd, and layers make more than they read or less, as in
    a model that was trained.

    Args:
        model: plain, to run and share weights with.
        plan: of its gates.
        inputs: of a forward.
        sides: path of a layer -> dims of its rows and columns.
    """
    groups = [group.name for group in plan.flat_groups if group.kind in _WIDTHS]
    made = [Narrow(1.0, model, _widths(plan, kept(plan, {}), sides))]
    narrow = [dict.fromkeys(groups, _TENTH), *(uneven(groups, number) for number in range(_UNEVEN))]
    for shares in narrow if groups else ():
        keep = kept(plan, shares)
        small = linked_copy(model, private=True)
        shrink(small, plan.groups, keep)
        restore_forward(small)
        try:
            inputs.call(small)
        except Exception:  # of a stranger's forward: purging says it better
            continue
        made.append(Narrow(round(sum(shares.values()) / len(shares), 3), small, _widths(plan, keep, sides)))
    return made


def uneven(groups: Sequence[str], number: int) -> dict[str, float]:
    """A share for each of ``groups``, in (0, 1); over all numbers those of a group are spread evenly."""
    steps = ((place * _GOLDEN + number / _UNEVEN) % 1.0 for place in range(len(groups)))
    return {name: (step * _UNEVEN + 0.5) / (_UNEVEN + 1) for name, step in zip(groups, steps, strict=True)}


def kept(plan: Plan, shares: Mapping[str, float]) -> dict[str, Tensor]:
    """By group the first units, the share of them that ``shares`` has and one at least, bool [k].

    Of features those whose own unit stays. Blocks, experts and weights all stay.
    """
    open_ = torch.ones(plan.size, dtype=torch.bool)
    for group in plan.flat_groups:
        where = plan.slices[group.name]
        if group.name not in shares:
            continue
        able = torch.ones(group.size, dtype=torch.bool)
        if plan.owners is not None:
            owned = plan.owners[where]
            able = (owned < 0) | open_[owned.clamp_min(0)]
        chosen = able.nonzero().squeeze(1)[: max(1, math.ceil(shares[group.name] * group.size - 1e-9))]
        open_[where] = False
        open_[where.start + chosen] = True
    return {name: open_[where] for name, where in plan.slices.items()}


def _widths(
    plan: Plan, keep: Mapping[str, Tensor], sides: Mapping[str, tuple[Side, Side]]
) -> dict[str, tuple[int, int]]:
    alive = alive_positions([group for group in plan.groups if group.kind in _WIDTHS], keep, plan.shapes)

    def width(side: Side) -> int:
        dims = [(alive.get(name, {}).get(dim), length) for name, dim, length in side]
        return sum(length if mask is None else int(mask.sum()) for mask, length in dims)

    return {path: (width(rows), width(columns)) for path, (rows, columns) in sides.items()}
