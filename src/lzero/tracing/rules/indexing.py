"""Ops that read or write at given indices: the dim that is indexed stays whole, the others keep their units."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lzero.tracing.label import Axes, IntArray, fixed
from lzero.tracing.op_call import OpCall, dims_of
from lzero.tracing.rules.registry import rule

_BY_NUMBER = "the forward picks units by their number"
_ADVICE = "a gate would renumber them; pick with a layer, or by equal parts (chunk)"


@rule("aten.index_select")
def index_select(call: OpCall) -> None:
    """Chosen indices of one dim."""
    axes = list(call.axes("self"))
    dim = dims_of(call["dim"], len(axes))[0]
    call.freeze(axes[dim], _BY_NUMBER, _ADVICE)
    axes[dim] = fixed(tuple(call.outputs[0].shape))[dim]
    call.set_output(axes)


@rule("aten.index")
def index(call: OpCall) -> None:
    """``x[i, :, j]``: indexed dims freeze; what they become is fixed, wherever PyTorch puts it."""
    axes = call.axes("self")
    chosen = {dim: tensor for dim, tensor in enumerate(call["indices"]) if tensor is not None}
    _freeze_indices(call, list(chosen.values()))
    call.set_output(_indexed(call, axes, chosen, tuple(call.outputs[0].shape)))


@rule("aten.index_put", "aten._index_put_impl")
def index_put(call: OpCall) -> None:
    """``x[i, :, j] = values``: indexed dims freeze, the others meet those of the values."""
    axes = call.axes("self")
    chosen = {dim: tensor for dim, tensor in enumerate(call["indices"]) if tensor is not None}
    _freeze_indices(call, list(chosen.values()))
    shape = tuple(
        call["self"][tuple(call["indices"][d] if d in chosen else slice(None) for d in range(len(axes)))].shape
    )
    _meet(call, _indexed(call, axes, chosen, shape), call.axes("values"))
    call.set_output(axes)


@rule("aten.index_add", "aten.index_copy", "aten.index_reduce")
def index_add(call: OpCall) -> None:
    """Slices of ``source`` added at chosen indices of one dim: the other dims meet."""
    axes, source = call.axes("self"), call.axes("source")
    dim = dims_of(call["dim"], len(axes))[0]
    for labels in (axes[dim], source[dim]):
        call.freeze(labels, _BY_NUMBER, _ADVICE)
    met = [labels if d == dim else call.unify(labels, source[d]) for d, labels in enumerate(axes)]
    call.set_output(met)


@rule("aten.gather", "aten.scatter", "aten.scatter_add", "aten.take_along_dim")
def gather(call: OpCall) -> None:
    """Indices of one dim, another for every element: nothing that it touches can be renumbered."""
    for tensor in call.inputs:
        call.freeze_dims(call.axes(tensor), range(tensor.dim()), _BY_NUMBER, _ADVICE)
    call.set_output(fixed(tuple(call.outputs[0].shape)))


def _freeze_indices(call: OpCall, indices: list[Tensor]) -> None:
    for tensor in indices:
        call.freeze_dims(call.axes(tensor), range(tensor.dim()), "it is used as an index", _ADVICE)


def _indexed(call: OpCall, axes: Axes, chosen: dict[int, Tensor], shape: tuple[int, ...]) -> list[IntArray]:
    """Labels of ``self[indices]``, of the given shape."""
    if any(_is_mask(tensor) and tensor.dim() > 1 for tensor in chosen.values()):
        raise NotImplementedError("a mask over several dims")
    width = max(1 if _is_mask(tensor) else tensor.dim() for tensor in chosen.values())
    dims = sorted(chosen)
    for dim in dims:
        call.freeze(axes[dim][_first(call, chosen[dim]) :], _BY_NUMBER, _ADVICE)
    kept = [labels for dim, labels in enumerate(axes) if dim not in chosen]
    adjacent = dims == list(range(dims[0], dims[-1] + 1))
    place = dims[0] if adjacent else 0
    new = list(fixed(shape))
    for position, labels in enumerate(kept):
        new[position if position < place else position + width] = labels
    if [labels.size for labels in new] != list(shape):
        raise NotImplementedError("an index of another form")
    return new


def _first(call: OpCall, chosen: Tensor) -> int | None:
    """Where the indices begin that must not leave: those picked from the end leave what is before them free."""
    return int(chosen.min()) if call.literal and chosen.numel() and int(chosen.max()) < 0 else None


def _meet(call: OpCall, target: list[IntArray], values: Axes) -> None:
    """Tie the dims of broadcast ``values`` to those that they are written to."""
    for dim in range(-len(values), 0):
        if values[dim].size == target[dim].size:
            call.unify(values[dim], target[dim])
        else:
            call.freeze(values[dim], "one unit is spread over many")
            call.freeze(target[dim], "one unit is spread over many")
    for dim in range(-len(target), -len(values)):
        call.freeze(np.asarray(target[dim]), "one unit is spread over many")


def _is_mask(tensor: Tensor) -> bool:
    return tensor.dtype in (torch.bool, torch.uint8)
