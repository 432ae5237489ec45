"""Multiplying consumers and cutting units out of a plain module, in place: the two halves of every purge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lzero._torch import save_buffer
from lzero.errors import StructureError
from lzero.host.memory_format import like_format
from lzero.host.tensors import find_tensor, tensors_of
from lzero.plan.group import GateGroup, Member
from lzero.plan.ownership import alive_positions, length_of
from lzero.surgery.config_numbers import following_numbers, set_numbers
from lzero.surgery.depth import cut_blocks, cut_entries
from lzero.surgery.fills import remove_fills
from lzero.surgery.gathered_linear import gather, gathering
from lzero.surgery.layer_sizes import correct_sizes
from lzero.surgery.ratios import following_ratios, scale_weights, set_ratios
from lzero.surgery.routings import remove_routings
from lzero.surgery.skips import blocks_in, remove_skips


@torch.no_grad()
def scale_consumers(model: nn.Module, groups: Sequence[GateGroup], values: Mapping[str, Tensor]) -> None:
    """``model`` with every consumer multiplied by its gates, in place; ``values[group.name]`` is z, [k]."""
    for group in groups:
        z = values[group.name]  # [k]
        for member in group.consumers:
            tensor = find_tensor(model, member.tensor)
            factor = member.expand(z.to(tensor), length_of(member, tensor.shape), fill=1.0)
            tensor.mul_(factor.view_as(tensor) if member.dim < 0 else along(factor, member.dim, tensor.dim()))


def shrink(model: nn.Module, groups: Sequence[GateGroup], keep: Mapping[str, Tensor]) -> None:
    """``model`` without its closed units, in place; ``keep[group.name]`` is a bool mask, [k].

    Units leave every tensor that they live on; an input group leaves a :class:`GatheredLinear`; closed weights become
    zeros. Sizes that modules cache (``in_features``, ``num_heads``, ...) follow, norms that units leave take their
    statistics over those that stay, and closed blocks and experts go as a whole.
    """
    shapes = {member.tensor: find_tensor(model, member.tensor).shape for group in groups for member in group.members}
    kinds = {kind: [g for g in groups if g.kind == kind] for kind in ("unit", "input", "weight", "depth", "expert")}
    for group in kinds["weight"]:
        for member in group.members:
            _zero_closed(find_tensor(model, member.tensor), member, keep[group.name])
    numbers, (ratios, scales) = following_numbers(model, groups, keep), following_ratios(model, groups, keep)
    units = alive_positions([*kinds["unit"], *kinds["expert"]], keep, shapes)
    for name, dims in alive_positions(kinds["input"], keep, shapes).items():
        _select_inputs(model, name, units.setdefault(name, {}), dims[1])
    names = _names(model)
    remove_fills(model)
    remove_routings(model)
    changed = [name for cut in units for name in names[id(find_tensor(model, cut))]]
    read = {member.tensor for group in groups for member in group.consumers}
    for name in sorted(
        units, key=lambda name: name not in read
    ):  # one by one: what a copy alone has held is free again
        _replace(model, names[id(find_tensor(model, name))], units[name])
    correct_sizes(model, changed)
    set_numbers(model, numbers)
    scale_weights(model, scales)
    set_ratios(model, ratios)
    remove_skips(model)
    cut_entries(model, [block.path for block in blocks_in(kinds["expert"], keep)])
    cut_blocks(model, list(blocks_in(kinds["depth"], keep)))


def along(vector: Tensor, dim: int, dims: int) -> Tensor:
    """``vector`` [n] shaped to broadcast along ``dim`` of a tensor with ``dims`` dims."""
    return vector.view([-1 if d == dim else 1 for d in range(dims)])


@torch.no_grad()
def _zero_closed(tensor: Tensor, member: Member, keep: Tensor) -> None:
    closed = ~member.expand(keep.to(tensor.device), tensor.numel(), fill=True)
    tensor.masked_fill_(closed.view_as(tensor), 0.0)


def _select_inputs(model: nn.Module, name: str, dims: dict[int, Tensor], alive: Tensor) -> None:
    """Put an index selection in front of the Linear that owns ``name``; its closed columns join those of ``dims``."""
    path = name.rpartition(".")[0]
    linear = model.get_submodule(path)
    if type(linear) is not nn.Linear:
        raise StructureError(
            f"{path}: input gates need a plain nn.Linear, found {type(linear).__name__}; put one there, or pass it to "
            "ignore="
        )
    arriving = dims.get(1, torch.ones_like(alive))  # [in_features] what the purged model still feeds
    dims[1] = arriving & alive
    if torch.equal(dims[1], arriving):
        return
    columns = dims[1][arriving].nonzero().squeeze(1).to(linear.weight.device)  # among the features that arrive
    before = gathering(model, path)
    if before is None:
        gather(linear, columns)
    else:  # purged once already
        before.columns = before.columns[columns]


def _names(model: nn.Module) -> dict[int, list[str]]:
    """By id, all names of every parameter and buffer; the tensors themselves are not held."""
    names: dict[int, list[str]] = {}
    for name, tensor in tensors_of(model).items():
        names.setdefault(id(tensor), []).append(name)
    return names


def _replace(model: nn.Module, names: Sequence[str], dims: Mapping[int, Tensor]) -> None:
    """Put what the masks on its ``dims`` leave of a tensor in its place, under all its ``names``.

    A buffer that a state dict would leave out is saved from now on: nothing else knows which positions are left.
    """
    small = _cut(find_tensor(model, names[0]), dims)
    for name in names:
        path, _, leaf = name.rpartition(".")
        module = model.get_submodule(path)
        table = module._parameters if leaf in module._parameters else module._buffers
        table[leaf] = small  # type: ignore[assignment]
        save_buffer(module, leaf)


def _cut(tensor: Tensor, dims: Mapping[int, Tensor]) -> Tensor:
    """The masked positions of a parameter or buffer, in its memory format."""
    small = tensor.detach()
    for dim, alive in sorted(dims.items()):
        if not bool(alive.all()):
            small = small.index_select(dim, alive.nonzero().squeeze(1).to(small.device))
    small = like_format(small, tensor)
    return nn.Parameter(small, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else small
