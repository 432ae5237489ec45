"""Multiplying consumers and cutting units out of a plain module, in place: the two halves of every purge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lzero._torch import save_buffer
from lzero.errors import StructureError
from lzero.host.memory_format import like_format
from lzero.host.tensors import find_tensor, tensors_of
from lzero.plan.group import GateGroup, kept_positions
from lzero.surgery.config_numbers import following_numbers, set_numbers
from lzero.surgery.layer_sizes import correct_sizes
from lzero.surgery.selected_linear import SelectedLinear


@torch.no_grad()
def scale_consumers(model: nn.Module, groups: Sequence[GateGroup], values: Mapping[str, Tensor]) -> None:
    """``model`` with every consumer multiplied by its gates, in place; ``values[group.name]`` is z, [k]."""
    for group in groups:
        z = values[group.name]  # [k]
        for member in group.consumers:
            tensor = find_tensor(model, member.tensor)
            if group.kind == "weight":
                tensor.mul_(z.to(tensor).view_as(tensor))
                continue
            factor = torch.ones(tensor.shape[member.dim], dtype=tensor.dtype, device=tensor.device)
            factor[member.index.to(tensor.device)] = z.to(tensor)[:, None].expand(-1, member.width)
            tensor.mul_(along(factor, member.dim, tensor.dim()))


def shrink(model: nn.Module, groups: Sequence[GateGroup], keep: Mapping[str, Tensor]) -> None:
    """``model`` without its closed units, in place; ``keep[group.name]`` is a bool mask, [k].

    Units leave every tensor that they live on; an input group leaves a :class:`SelectedLinear`; closed weights become
    zeros. Sizes that modules cache (``in_features``, ``num_heads``, ...) follow.
    """
    units: dict[str, dict[int, Tensor]] = {}
    inputs: dict[str, Tensor] = {}
    for group in groups:
        mask = keep[group.name].cpu()
        for member in group.members:
            if group.kind == "weight":
                _zero_closed(find_tensor(model, member.tensor), mask)
                continue
            alive = kept_positions(member, mask, find_tensor(model, member.tensor).shape[member.dim])
            if group.kind == "input":
                inputs[member.tensor] = alive
            else:
                dims = units.setdefault(member.tensor, {})
                dims[member.dim] = dims[member.dim] & alive if member.dim in dims else alive
    for name, alive in inputs.items():
        _select_inputs(model, name, units.setdefault(name, {}), alive)
    before, numbers = tensors_of(model), following_numbers(model, groups, keep)
    _replace(model, {find_tensor(model, name): dims for name, dims in units.items()})
    correct_sizes(model, before)
    set_numbers(model, numbers)


def along(vector: Tensor, dim: int, dims: int) -> Tensor:
    """``vector`` [n] shaped to broadcast along ``dim`` of a tensor with ``dims`` dims."""
    return vector.view([-1 if d == dim else 1 for d in range(dims)])


@torch.no_grad()
def _zero_closed(tensor: Tensor, keep: Tensor) -> None:
    tensor.masked_fill_(~keep.to(tensor.device).view_as(tensor), 0.0)


def _select_inputs(model: nn.Module, name: str, dims: dict[int, Tensor], alive: Tensor) -> None:
    """Put an index selection in front of the Linear that owns ``name``; its closed columns join those of ``dims``."""
    path = name.rpartition(".")[0]
    linear = model.get_submodule(path)
    if type(linear) is not nn.Linear:
        raise StructureError(f"{path}: input gates need a plain nn.Linear, found {type(linear).__name__}")
    arriving = dims.get(1, torch.ones_like(alive))  # [in_features] what the purged model still feeds
    dims[1] = arriving & alive
    if torch.equal(dims[1], arriving):
        return
    columns = dims[1][arriving].nonzero().squeeze(1)  # positions among the features that arrive
    linear.__class__ = SelectedLinear
    linear.register_buffer("columns", columns.to(linear.weight.device))


def _replace(model: nn.Module, cuts: Mapping[Tensor, Mapping[int, Tensor]]) -> None:
    """Put what the masks on its dims leave of every tensor of ``cuts`` in its place, under all its aliases.

    A buffer that a state dict would leave out is saved from now on: nothing else knows which positions are left.
    """
    small = {tensor: _cut(tensor, dims) for tensor, dims in cuts.items()}
    for module in model.modules():
        for table in (module._parameters, module._buffers):
            for leaf, tensor in table.items():
                if tensor is not None and tensor in small:
                    table[leaf] = small[tensor]  # type: ignore[assignment]
                    save_buffer(module, leaf)


def _cut(tensor: Tensor, dims: Mapping[int, Tensor]) -> Tensor:
    """The masked positions of a parameter or buffer, in its memory format."""
    small = tensor.detach()
    for dim, alive in sorted(dims.items()):
        if not bool(alive.all()):
            small = small.index_select(dim, alive.nonzero().squeeze(1).to(small.device))
    small = like_format(small, tensor)
    return nn.Parameter(small, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else small
