"""How much of a group the outputs show: of units that no output depends on, no comparison proves a thing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from lzero.host.cache import results_in
from lzero.host.copies import linked_copy
from lzero.host.mode import freeze
from lzero.host.run import ForwardError
from lzero.host.stand_ins import exact_ops
from lzero.host.tensors import draw_normal, find_tensor
from lzero.plan.group import GateGroup
from lzero.proving.compare import difference
from lzero.proving.random_model import RandomModel

_PARTS = 4  # of a group that no gradient reaches, closed one by one


def visible_shares(model: RandomModel, groups: Sequence[GateGroup]) -> dict[str, float]:
    """For each group the share of its units that an output depends on, by the weights that are drawn now.

    A ReLU may be dead where other weights would wake it. By gradients; of groups that none reaches (a detach, an op
    without a derivative), by what moves when parts of them are closed.
    """
    names = {member.tensor for group in groups for member in group.consumers}
    slopes = output_slopes(model, names)
    return {g.name: _share_with_slope(slopes, g) or share_that_moves(model, g) for g in groups}


def output_slopes(model: RandomModel, names: Iterable[str]) -> dict[str, Tensor]:
    """Gradients of a random projection of the outputs with respect to the tensors ``names``; may be empty.

    Afterwards no parameter of the model requires grad.
    """
    tensors = {name: find_tensor(model.model, name).requires_grad_() for name in sorted(names)}
    try:
        with torch.enable_grad():
            returned = model.forward(linked_copy(model.model, private=True))
            outputs = [t for t in results_in(returned, model.model) if t.requires_grad]
            weights = [draw_normal(tensor, model.generator) for tensor in outputs]
            with exact_ops(model.model):
                slopes = _gradients(outputs, list(tensors.values()), weights)
        return {name: slope for name, slope in zip(tensors, slopes, strict=True) if slope is not None}
    except ForwardError:  # in-place on leaves: compared by value
        return {}
    finally:
        freeze(model.model)


def _gradients(outputs: list[Tensor], tensors: list[Tensor], weights: list[Tensor]) -> Sequence[Tensor | None]:
    """Of one number: for gradients of given directions PyTorch would import its symbolic shapes."""
    parts = [torch.view_as_real(t * w) if t.is_complex() else t * w for t, w in zip(outputs, weights, strict=True)]
    try:
        return torch.autograd.grad(sum(part.sum() for part in parts), tensors, allow_unused=True)  # type: ignore[arg-type]
    except Exception:  # no outputs with a gradient, or a backward of the user's that fails
        return [None] * len(tensors)


def _share_with_slope(slopes: Mapping[str, Tensor], group: GateGroup) -> float:
    """The share of the units of ``group`` that have a weight with a slope."""
    found = torch.zeros(group.size, dtype=torch.bool)
    for member in group.consumers:
        slope = slopes.get(member.tensor)
        if slope is not None:
            moving = slope != 0
            if member.dim >= 0:
                moving = moving.transpose(0, member.dim).reshape(slope.shape[member.dim], -1).any(1)
            found |= member.gather(moving.reshape(-1).cpu()).any(1)
    return float(found.double().mean())


def share_that_moves(model: RandomModel, group: GateGroup) -> float:
    """The share of a few parts of ``group`` that change the outputs when they are closed.

    None does where neither the first unit does, nor all others together.
    """
    parts, units = min(_PARTS, group.size), torch.arange(group.size)
    if not moves(model, group):
        return 0.0
    return sum(_moves(model, group, units % parts != part) for part in range(parts)) / parts


def moves(model: RandomModel, group: GateGroup) -> bool:
    """Whether the outputs change when all units of ``group`` but the first are closed, or the first alone."""
    units = torch.arange(group.size)
    return _moves(model, group, units == 0) or _moves(model, group, units != 0)


def _moves(model: RandomModel, group: GateGroup, opened: Tensor) -> bool:
    try:
        found = model.outputs(model.gated([group], {group.name: opened.double()}))
    except ForwardError:  # a branch on the values: the comparison that follows will say so
        return True
    return difference(model.dense, found).relative > model.tolerance
