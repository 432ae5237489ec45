"""Which gate stands on which position of which tensor: one bookkeeping for gating, counting and cutting."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lzero.plan.group import GateGroup, Member
from lzero.plan.paths import covers
from lzero.plan.router import Router

Shapes = Mapping[str, Sequence[int]]
Maps = Mapping[tuple[str, int], Sequence[Tensor]]
"""(tensor, dim) -> index maps, long [length of the dim]."""


def flat_order(groups: Iterable[GateGroup]) -> tuple[GateGroup, ...]:
    """``groups`` in the order in which their gates are numbered: those whose gates others own stand behind these."""
    known = tuple(groups)
    inner = branches(known)
    return tuple(sorted(known, key=lambda group: group.kind == "input" or group.name in inner))


def branches(groups: Sequence[GateGroup]) -> set[str]:
    """Names of the groups of modules that lie in modules of other groups, and have none of others in them."""
    paths = {block.path: group.name for group in groups for block in group.blocks}
    found, around = set[str](), set[str]()
    for path, name in paths.items():
        for depth in range(1, path.count(".") + 1):
            outer = paths.get(path.rsplit(".", depth)[0])
            if outer is not None:
                found.add(name)
                around.add(outer)
    return found - around


def slices_of(ordered: Iterable[GateGroup]) -> dict[str, slice]:
    """Group name -> the numbers of its gates."""
    found: dict[str, slice] = {}
    start = 0
    for group in ordered:
        found[group.name] = slice(start, start + group.size)
        start += group.size
    return found


def length_of(member: Member, shape: Sequence[int]) -> int:
    """How many positions the dim of ``member`` has in a tensor of ``shape``; all elements where it is flattened."""
    return math.prod(shape) if member.dim < 0 else shape[member.dim]


def owners_of(ordered: Sequence[GateGroup], shapes: Shapes) -> Tensor | None:
    """The number of the gate that owns each, -1 where none does; long [G].

    An input gate is owned by the unit gate of the same feature, and one of a branch by that of the innermost block that
    the branch lies in. None where there are neither inputs nor branches.
    """
    inner = branches(ordered)
    if not inner and all(group.kind != "input" for group in ordered):
        return None
    slices, owners = slices_of(ordered), torch.full((sum(group.size for group in ordered),), -1)
    unit_at: dict[str, Tensor] = {}  # tensor -> the unit gate of each feature that it reads, -1 where there is none
    for group in ordered:
        where = slices[group.name]
        for member in group.consumers:
            if member.dim != 1 or member.tensor not in shapes:
                continue
            length = length_of(member, shapes[member.tensor])
            table = unit_at.setdefault(member.tensor, torch.full((length,), -1))
            if group.kind == "input":
                owners[where] = member.gather(table)[:, 0]
            elif group.kind == "unit":
                mine = member.expand(torch.arange(where.start, where.stop), length, fill=-1)
                unit_at[member.tensor] = torch.where(mine < 0, table, mine)
    whole = {  # path -> gate of a block that is no branch
        block.path: slices[group.name].start + gate
        for group in ordered
        for gate, block in enumerate(group.blocks)
        if group.name not in inner
    }
    for group in ordered:
        for gate, block in enumerate(group.blocks):
            around = [path for path in whole if covers(path, block.path)] if group.name in inner else []
            if around:
                owners[slices[group.name].start + gate] = whole[max(around, key=len)]
    return owners


def maps_of(ordered: Sequence[GateGroup], shapes: Shapes) -> Maps:
    """For every (tensor, dim) that gates multiply the gate of each position, G where there is none.

    Several maps on one dim multiply (an input gate on a flattened channel).
    """
    gates, slices = sum(group.size for group in ordered), slices_of(ordered)
    maps: dict[tuple[str, int], list[Tensor]] = {}
    for group in ordered:
        numbers = torch.arange(slices[group.name].start, slices[group.name].stop)
        for member in group.consumers:
            if member.tensor not in shapes:
                continue
            mine = member.expand(numbers, length_of(member, shapes[member.tensor]), fill=gates)
            stack = maps.setdefault((member.tensor, member.dim), [])
            free = next((i for i, other in enumerate(stack) if bool((member.gather(other) == gates).all())), None)
            if free is None:
                stack.append(mine)
            else:
                stack[free] = torch.minimum(stack[free], mine)
    return maps


def alive_positions(
    groups: Iterable[GateGroup], keep: Mapping[str, Tensor], shapes: Shapes
) -> dict[str, dict[int, Tensor]]:
    """Tensor -> dim -> the positions that stay, bool, once the closed units of ``groups`` have left.

    Closed weights of a ``"weight"`` group become zeros, which leave nothing; what leaves with a closed block leaves as
    a whole (:func:`leaving`).

    Args:
        groups: of gates.
        keep: group name -> bool mask of its open gates, [k].
        shapes: of the tensors that are asked for; members on others are passed over.
    """
    alive: dict[str, dict[int, Tensor]] = {}
    for group in groups:
        mask = keep[group.name].cpu()
        for member in group.members:
            if member.dim >= 0 and member.tensor in shapes:
                stay = member.expand(mask, length_of(member, shapes[member.tensor]), fill=True)
                dims = alive.setdefault(member.tensor, {})
                dims[member.dim] = dims[member.dim] & stay if member.dim in dims else stay
    return alive


def leaving(groups: Iterable[GateGroup], keep: Mapping[str, Tensor]) -> set[str]:
    """Names of the parameters that leave with a closed block of ``groups``; ``keep`` as in :func:`alive_positions`."""
    return {
        tensor
        for group in groups
        if group.blocks
        for block, stays in zip(group.blocks, keep[group.name].tolist(), strict=True)
        if not stays
        for tensor in block.tensors
    }


def reach(groups: Iterable[GateGroup], shapes: Shapes) -> int:
    """Parameters, of those with ``shapes``, that at least one gate of ``groups`` can remove; buffers cost nothing."""
    free: dict[str, dict[int, Tensor]] = {}  # tensor -> dim -> positions that no gate owns
    whole: set[str] = set()  # tensors of which every element can leave
    for group in groups:
        whole.update(tensor for block in group.blocks for tensor in block.tensors if tensor in shapes)
        for member in group.members:
            if member.dim < 0 and member.tensor in shapes:
                whole.add(member.tensor)
            elif member.tensor in shapes:
                dims = free.setdefault(member.tensor, {})
                left = ~member.owned(shapes[member.tensor][member.dim])
                dims[member.dim] = dims[member.dim] & left if member.dim in dims else left
    kept = {name: math.prod(_left(shapes[name], dims)) for name, dims in free.items()} | dict.fromkeys(whole, 0)
    return sum(math.prod(shapes[name]) - elements for name, elements in kept.items())


def _left(shape: Sequence[int], masks: Mapping[int, Tensor]) -> list[int]:
    """``shape`` with as many positions on every dim as its mask leaves."""
    return [int(masks[dim].sum()) if dim in masks else size for dim, size in enumerate(shape)]


def elements_left(groups: Sequence[GateGroup], keep: Mapping[str, Tensor], shapes: Shapes) -> dict[str, int]:
    """Elements of every tensor with ``shapes``, once the closed units and blocks of ``groups`` have left."""
    alive, gone = alive_positions(groups, keep, shapes), leaving(groups, keep)
    return {name: 0 if name in gone else math.prod(_left(shape, alive.get(name, {}))) for name, shape in shapes.items()}


def parameters_left(groups: Iterable[GateGroup], keep: Mapping[str, Tensor], shapes: Shapes) -> int:
    """Parameters, of those with ``shapes``, once the closed units and blocks of ``groups`` have left."""
    return sum(elements_left(tuple(groups), keep, shapes).values())


def working(groups: Iterable[GateGroup]) -> list[GateGroup]:
    """``groups`` as they are counted for MACs: of experts that tokens choose, the router's own rows alone."""
    return [_rows_alone(group, group.router) if group.router is not None else group for group in groups]


def _rows_alone(group: GateGroup, router: Router) -> GateGroup:
    if not router.sparse:
        return group
    members = tuple(member for member in group.members if member.tensor == router.tensor)
    return replace(group, members=members, blocks=tuple(replace(block, tensors=()) for block in group.blocks))
