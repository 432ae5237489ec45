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
    chosen = _chosen(call)
    _freeze_indices(call, list(chosen.values()))
    call.set_output(_indexed(call, axes, chosen, tuple(call.outputs[0].shape)))


@rule("aten.index_put", "aten._index_put_impl")
def index_put(call: OpCall) -> None:
    """``x[i, :, j] = values``: indexed dims freeze, the others meet those of the values.

    One number at the places of a mask of the whole (``x[x < 0] = 0``) is elementwise.
    """
    axes, values, chosen = call.axes("self"), call["values"], _chosen(call)
    mask = chosen.get(0)
    if mask is not None and _is_mask(mask) and mask.dim() == len(axes) and values.numel() == 1:
        call.freeze_dims(call.axes("values"), range(values.dim()), "one unit is spread over many")
        call.set_output([call.unify(labels, met) for labels, met in zip(axes, call.axes(mask), strict=True)])
        return
    _freeze_indices(call, list(chosen.values()))
    shape = tuple(call["self"][tuple(slice(None) if one is None else one for one in call["indices"])].shape)
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


def _chosen(call: OpCall) -> dict[int, Tensor]:
    """The tensors that index, by the first dim that each of them indexes: a mask of n dims indexes n."""
    chosen: dict[int, Tensor] = {}
    dim = 0
    for tensor in call["indices"]:
        if tensor is not None:
            chosen[dim] = tensor
        dim += tensor.dim() if tensor is not None and _is_mask(tensor) else 1
    return chosen


def _indexed(call: OpCall, axes: Axes, chosen: dict[int, Tensor], shape: tuple[int, ...]) -> list[IntArray]:
    """Labels of ``self[indices]``, of the given shape."""
    width = max(1 if _is_mask(tensor) else tensor.dim() for tensor in chosen.values())
    gone = [dim + i for dim, tensor in chosen.items() for i in range(tensor.dim() if _is_mask(tensor) else 1)]
    if not gone:
        raise NotImplementedError("a mask without dims")
    for dim in gone:
        call.freeze(axes[dim][_first(call, chosen[dim]) if dim in chosen else None :], _BY_NUMBER, _ADVICE)
    kept = [labels for dim, labels in enumerate(axes) if dim not in gone]
    place = gone[0] if gone == list(range(gone[0], gone[-1] + 1)) else 0
    new = list(fixed(shape))
    for position, labels in enumerate(kept):
        new[position if position < place else position + width] = labels
    if [labels.size for labels in new] != list(shape):
        raise NotImplementedError("an index of another form")
    return new


def _first(call: OpCall, chosen: Tensor) -> int | None:
    """Where the indices begin that must not leave: those picked from the end leave what is before them free."""
    numbers = call.literal and chosen.numel() and not _is_mask(chosen)
    return int(chosen.min()) if numbers and int(chosen.max()) < 0 else None


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
