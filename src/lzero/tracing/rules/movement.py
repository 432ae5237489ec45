"""Ops that move elements without mixing them: permutations, slices, concatenations and repeats."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from lzero.tracing.label import IntArray, fixed
from lzero.tracing.op_call import OpCall, dims_of
from lzero.tracing.rules.registry import rule
from lzero.tracing.rules.zeros import with_self

_BY_NUMBER = "the forward picks units by their number"
_EQUAL = "split the units into equal parts, or make them with separate layers"


@rule("aten.permute", zeros=with_self)
def permute(call: OpCall) -> None:
    """Dims in the order ``dims``."""
    axes = call.axes("self")
    call.set_output([axes[dim] for dim in dims_of(call["dims"], len(axes))], view_of="self")


@rule("aten.transpose", "aten.t", "aten.swapaxes", "aten.swapdims", zeros=with_self)
def transpose(call: OpCall) -> None:
    """Two dims swapped; ``t`` of a vector is the vector."""
    axes = list(call.axes("self"))
    if len(axes) > 1:
        first, second = call.arguments.get("dim0", 0), call.arguments.get("dim1", 1)
        axes[first], axes[second] = axes[second], axes[first]
    call.set_output(axes, view_of="self")


@rule("aten.unsqueeze", zeros=with_self)
def unsqueeze(call: OpCall) -> None:
    """A new dim of size one."""
    axes = list(call.axes("self"))
    axes.insert(call["dim"] % (len(axes) + 1), fixed((1,))[0])
    call.set_output(axes, view_of="self")


@rule("aten.squeeze", zeros=with_self)
def squeeze(call: OpCall) -> None:
    """Dims of size one dropped; the others among those asked for freeze, lest they drop once one unit is left."""
    axes = call.axes("self")
    asked = dims_of(call.get("dim"), len(axes))
    call.freeze_dims(axes, asked, "squeeze() would drop the dim once one unit is left", "use flatten, or squeeze(dim)")
    dropped = [dim for dim in asked if axes[dim].size == 1]
    call.set_output([labels for dim, labels in enumerate(axes) if dim not in dropped], view_of="self")


@rule("aten.expand", zeros=with_self)
def expand(call: OpCall) -> None:
    """Dims of size one repeated by reference, new dims in front.

    What is repeated along the first dim, or as often as the size of another tensor says (in a product, too), is the
    same at every index, and like a constant takes the units that it meets.
    """
    axes, shape = call.axes("self"), tuple(call.outputs[0].shape)
    lead = len(shape) - len(axes)
    wide = [_repeated(call, dim, size) for dim, size in enumerate(shape[:lead])]
    for dim, (labels, size) in enumerate(zip(axes, shape[lead:], strict=True), start=lead):
        if labels.size != size:
            call.freeze(labels, "one unit is spread over many")
        wide.append(labels if labels.size == size else _repeated(call, dim, size))
    call.set_output(wide, view_of="self")


def _repeated(call: OpCall, dim: int, size: int) -> IntArray:
    """Labels of a dim along which all is the same."""
    return call.fresh(size) if dim == 0 or call.follows(size) else fixed((size,))[0]


@rule("aten.repeat")
def repeat(call: OpCall) -> None:
    """Every dim tiled; new dims in front. One index that is repeated takes the units that it meets, as in expand."""
    axes, times = call.axes("self"), list(call["repeats"])
    lead = len(times) - len(axes)
    tiled = [call.fresh(n) if call.follows(n) else fixed((n,))[0] for n in times[:lead]]
    for labels, n in zip(axes, times[lead:], strict=True):
        alone = labels.size == 1 and not labels.any() and call.follows(n)
        tiled.append(call.fresh(n) if alone else np.tile(labels, n))
    call.set_output(tiled)


@rule("aten.flip")
def flip(call: OpCall) -> None:
    """Dims reversed, and their labels with them."""
    axes = call.axes("self")
    reversed_dims = dims_of(call["dims"], len(axes)) if call["dims"] else []
    call.set_output([labels[::-1].copy() if dim in reversed_dims else labels for dim, labels in enumerate(axes)])


@rule("aten.slice", "aten.narrow", zeros=with_self)
def slice_(call: OpCall) -> None:
    """A part of a dim. A part of equal parts is tied to the others, so that all lose the same; any other freezes.

    Equal parts follow each other, or are every n-th index from one of the first n on. All but the last m, where that is
    written down, stay what they are whoever leaves before those. Where the bounds follow the units, nothing is tied.
    """
    axes, out = list(call.axes("self")), call.outputs[0]
    dim = dims_of(call["dim"], len(axes))[0]
    labels, size = axes[dim], out.shape[dim]
    start, step, end = _start(call["start"], labels.size), call.arguments.get("step", 1), call.get("end")
    if size < labels.size and labels.any() and not call.loose:
        if call.literal and step == 1 and start == 0 and end is not None and end < 0:
            call.freeze(labels[end:], _BY_NUMBER, _EQUAL)
        elif step == 1 and size > 1 and labels.size % size == 0 and start % size == 0:
            call.unify_rows(labels.reshape(-1, size).T)
        elif 1 < step < labels.size and labels.size == step * size and start < step:
            call.unify_rows(labels.reshape(-1, step))
        else:
            call.freeze(labels, _BY_NUMBER, _EQUAL)
    axes[dim] = labels[start : start + size * step : step]
    call.set_output(axes, view_of="self")


def _start(start: int | None, size: int) -> int:
    start = start or 0
    return min(max(start + size if start < 0 else start, 0), size)


@rule("aten.select")
def select(call: OpCall) -> None:
    """One index of a dim: that dim freezes and goes."""
    axes = call.axes("self")
    dim = dims_of(call["dim"], len(axes))[0]
    call.freeze(axes[dim], _BY_NUMBER)
    call.set_output((*axes[:dim], *axes[dim + 1 :]), view_of="self")


@rule("aten.unbind")
def unbind(call: OpCall) -> None:
    """Every index of a dim, one tensor each: that dim freezes and goes."""
    axes = call.axes("self")
    dim = dims_of(call["dim"], len(axes))[0]
    call.freeze(axes[dim], _BY_NUMBER)
    for out in call.outputs:
        call.set_output((*axes[:dim], *axes[dim + 1 :]), out, view_of="self")


@rule("aten.split", "aten.split_with_sizes", "aten.chunk", "aten.unsafe_split", "aten.unsafe_split_with_sizes")
def split(call: OpCall) -> None:
    """Parts of a dim, tied so that all lose in proportion: as one block each, or as many as their sizes share.

    Where all sizes follow the units, nothing is tied.
    """
    axes, outs = list(call.axes("self")), call.outputs
    dim = dims_of(call["dim"], len(axes))[0]
    labels, sizes = axes[dim], [out.shape[dim] for out in outs]
    block = math.gcd(*sizes)
    if not call.loose and (block > 1 or len(set(sizes)) == 1):
        call.unify_rows(labels.reshape(-1, block).T)
    elif not call.loose:
        call.freeze(labels, "the forward splits the units into unequal parts of literal sizes")
    ends = np.cumsum([0, *sizes])
    for out, start, end in zip(outs, ends, ends[1:], strict=False):
        axes[dim] = labels[start:end]
        call.set_output(axes, out, view_of="self")


@rule("aten.cat", "aten.concat")
def cat(call: OpCall) -> None:
    """Tensors side by side along a dim; their other dims meet."""
    out = call.outputs[0]
    parts = [t for t in call["tensors"] if t.dim() == out.dim()]  # an empty vector fits anywhere, and adds nothing
    dim = dims_of(call["dim"], out.dim())[0]
    call.set_output(_side_by_side(call, parts, dim))


@rule("aten.stack")
def stack(call: OpCall) -> None:
    """Tensors side by side along a new dim."""
    met = _side_by_side(call, call["tensors"], None)
    met.insert(call["dim"] % (len(met) + 1), fixed((len(call["tensors"]),))[0])
    call.set_output(met)


def _side_by_side(call: OpCall, parts: list[Tensor], joined: int | None) -> list[IntArray]:
    """Labels of ``parts``: concatenated along ``joined``, tied elsewhere."""
    met = list(call.axes(parts[0]))
    for part in parts[1:]:
        for dim, labels in enumerate(call.axes(part)):
            met[dim] = np.concatenate([met[dim], labels]) if dim == joined else call.unify(met[dim], labels)
    return met


@rule("aten.view_as_complex")
def view_as_complex(call: OpCall) -> None:
    """[..., 2] -> [...]: real and imaginary parts."""
    axes = call.axes("self")
    call.freeze(axes[-1], "its two parts make a complex number")
    call.set_output(axes[:-1])


@rule("aten.view_as_real")
def view_as_real(call: OpCall) -> None:
    """[...] -> [..., 2]."""
    call.set_output((*call.axes("self"), fixed((2,))[0]))
