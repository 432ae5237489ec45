"""Elementwise ops: what meets in one element belongs to one unit."""

from __future__ import annotations

from lzero.tracing.label import IntArray, fixed
from lzero.tracing.op_call import Call
from lzero.tracing.rules.registry import rule


@rule(
    "pointwise",  # every op that PyTorch tags as such
    "aten.hardswish",
    "aten._prelu_kernel",
    "aten.rsub",
    "aten.masked_fill",
    "aten.copy",
    "aten.fill",
    "aten.zero",
    "aten.dropout",
    "aten.native_dropout",
    "aten.rrelu_with_noise",
    "aten.polar",
    "aten.complex",
    "aten.where",
)
def elementwise(call: Call) -> None:
    """Broadcast all tensor arguments against each other, dim by dim from the right."""
    for out in call.outputs:
        call.give([_meet(call, dim, size) for dim, size in zip(range(-out.dim(), 0), out.shape, strict=True)], out)


def _meet(call: Call, dim: int, size: int) -> IntArray:
    """The labels [size] of output dim ``dim`` (negative), all that meets there tied together."""
    met: IntArray | None = None
    for tensor in call.inputs:
        if tensor.dim() < -dim:
            continue
        labels = call.axes(tensor)[dim]
        if labels.size != size:
            call.freeze(labels, "one unit is spread over many", "give the unit that is broadcast a layer of its own")
        elif met is None:
            met = labels
        else:
            met = call.unify(met, labels)
    return fixed((size,))[0] if met is None else met


@rule("aten.clone", "aten._to_copy", "aten.contiguous", "aten.detach", "aten.alias", "aten.lift_fresh", "aten.view_as")
def same(call: Call) -> None:
    """The tensor itself, moved, cast or copied: still a pure view."""
    call.give(call.axes("self"), view_of="self")


@rule("aten.log_sigmoid_forward")
def log_sigmoid(call: Call) -> None:
    """Elementwise, with a second output for the backward pass that may be empty."""
    call.give(call.axes("self"), call.outputs[0])


@rule("aten.zeros_like", "aten.ones_like", "aten.full_like", "aten.empty_like")
def same_size(call: Call) -> None:
    """A constant of the shape of a labelled tensor shrinks with it."""
    call.give(call.axes("self"))


@rule("aten._local_scalar_dense", "aten.is_nonzero")
def read_as_number(call: Call) -> None:
    """A tensor read as a Python number, which no label can follow."""
    axes = call.axes("self")
    call.freeze_dims(axes, range(len(axes)), "the forward reads it as a Python number")
