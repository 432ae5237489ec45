"""Which gate stands on which position of which tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lzero.gates.gates import Gates
from lzero.host.tensors import find_tensor
from lzero.plan.group import GateGroup

Maps = Mapping[tuple[str, int], Sequence[Tensor]]


def gate_maps(model: nn.Module, groups: Sequence[GateGroup], gates: Gates) -> Maps:
    """For every gated (tensor, dim) its index maps, long [length of dim]: the gate of each position, G where none.

    Several maps on one dim multiply (an input gate on a flattened channel).
    """
    maps: dict[tuple[str, int], list[Tensor]] = {}
    for group in groups:
        offset = gates.slices[group.name].start
        flat = torch.arange(offset, offset + group.size)
        for member in group.consumers:
            tensor = find_tensor(model, member.tensor)
            length = tensor.numel() if member.dim < 0 else tensor.shape[member.dim]
            stack = maps.setdefault((member.tensor, member.dim), [])
            positions = member.index.cpu()
            free = next((m for m in stack if bool((m[positions] == len(gates)).all())), None)
            if free is None:
                free = torch.full((length,), len(gates))
                stack.append(free)
            free[positions] = flat[:, None].expand(-1, member.width)
    return maps


def owners_of(groups: Sequence[GateGroup]) -> Tensor | None:
    """For each input gate the flat index of the unit gate that owns the same feature, else -1; long [G].

    None where there are no input gates.
    """
    if all(group.kind != "input" for group in groups):
        return None
    owner_at: dict[str, Tensor] = {}
    owners, start = [], 0
    for group in groups:
        mine = torch.full((group.size,), -1)
        for member in group.consumers:
            if member.dim != 1:
                continue
            length = int(member.index.max()) + 1
            table = owner_at.get(member.tensor, torch.full((0,), -1))
            if length > len(table):
                table = torch.cat([table, torch.full((length - len(table),), -1)])
            if group.kind == "input":
                mine = table[member.index[:, 0]]
            elif group.kind == "unit":
                table[member.index] = torch.arange(start, start + group.size)[:, None].expand(-1, member.width)
                owner_at[member.tensor] = table
        owners.append(mine)
        start += group.size
    return torch.cat(owners)
