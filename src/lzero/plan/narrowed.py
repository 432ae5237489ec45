"""A plan of the model that is left once units have gone from it for good: the same groups, of fewer gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lzero.plan.group import GateGroup, Member
from lzero.plan.plan import Plan

Dead = Mapping[tuple[str, int], Tensor]
"""(tensor, dim) -> the positions that go, long and ascending."""


def may_go(plan: Plan) -> dict[str, bool]:
    """By group, whether its gates can leave one by one while the others train.

    Units can that no norm takes statistics of, and the features that a Linear reads of them. Not those that lie on a
    tensor with a gate for each weight, which are numbered by its shape; nor blocks and experts, whose places in a
    container others count.
    """
    flat = {member.tensor for group in plan.groups for member in group.members if member.dim < 0}
    return {
        group.name: group.kind in ("unit", "input") and not group.norms and not flat & {*group.tensors}
        for group in plan.groups
    }


def narrowed(plan: Plan, keep: Mapping[str, Tensor]) -> Plan:
    """``plan`` without the gates that ``keep`` closes, for the model without their units.

    Args:
        plan: of the model as it is.
        keep: group name -> bool mask [k]; of groups that :func:`may_go` says no of, all True; one gate at least is
            True in each.
    """
    dead = _dead(plan, keep)
    shapes = {name: list(shape) for name, shape in plan.shapes.items()}
    for (name, dim), positions in dead.items():
        if name in shapes:  # buffers are not counted
            shapes[name][dim] -= len(positions)
    groups = tuple(_group(group, keep[group.name].cpu(), dead) for group in plan.groups)
    return replace(plan, groups=groups, shapes={name: tuple(shape) for name, shape in shapes.items()})


def positions_left(
    plan: Plan, keep: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]]
) -> dict[str, dict[int, Tensor]]:
    """Tensor -> dim -> the positions that stay, long, of the tensors of ``plan`` that lose some; ``keep`` as above.

    Args:
        plan: of the model as it is.
        keep: group name -> bool mask [k].
        shapes: of all tensors that gates stand on, buffers too.
    """
    found: dict[str, dict[int, Tensor]] = {}
    for (name, dim), gone in _dead(plan, keep).items():
        stays = torch.ones(shapes[name][dim], dtype=torch.bool)
        stays[gone] = False
        found.setdefault(name, {})[dim] = stays.nonzero().squeeze(1)
    return found


def _dead(plan: Plan, keep: Mapping[str, Tensor]) -> dict[tuple[str, int], Tensor]:
    found: dict[tuple[str, int], list[Tensor]] = {}
    for group in plan.groups:
        closed = ~keep[group.name].cpu()
        for member in group.members if bool(closed.any()) else ():
            found.setdefault((member.tensor, member.dim), []).append(member.index[closed].reshape(-1))
    return {place: torch.unique(torch.cat(positions)) for place, positions in found.items()}


def _group(group: GateGroup, keep: Tensor, dead: Dead) -> GateGroup:
    members = tuple(_member(member, keep, dead) for member in group.members)
    return replace(group, size=int(keep.sum()), members=members)


def _member(member: Member, keep: Tensor, dead: Dead) -> Member:
    index = member.index if bool(keep.all()) else member.index[keep]
    gone = dead.get((member.tensor, member.dim))
    if gone is not None:
        index = index - torch.searchsorted(gone, index.contiguous())
    return replace(member, index=index)
