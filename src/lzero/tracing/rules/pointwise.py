"""Elementwise ops: what meets in one element belongs to one unit."""

from __future__ import annotations

from lzero.tracing.label import IntArray, fixed
from lzero.tracing.op_call import OpCall
from lzero.tracing.rules.registry import rule
from lzero.tracing.rules.zeros import with_a_factor, with_both_terms, with_self


@rule("aten.mul", zeros=with_a_factor)
@rule("aten.add", "aten.sub", zeros=with_both_terms)
@rule("aten.neg", "aten.div", "aten.dropout", zeros=with_self)
@rule(
    "pointwise",  # every op that PyTorch tags as such
    "aten.hardswish",
    "aten._prelu_kernel",
    "aten.rsub",
    "aten.masked_fill",
    "aten.copy",
    "aten.fill",
    "aten.zero",
    "aten.native_dropout",
    "aten.rrelu_with_noise",
    "aten.polar",
    "aten.complex",
    "aten.where",
)
def elementwise(call: OpCall) -> None:
    """Broadcast all tensor arguments against each other, dim by dim from the right."""
    for out in call.outputs:
        call.set_output(
            [_meet(call, dim, size) for dim, size in zip(range(-out.dim(), 0), out.shape, strict=True)], out
        )


def _meet(call: OpCall, dim: int, size: int) -> IntArray:
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


@rule(
    "aten.clone",
    "aten._to_copy",
    "aten.contiguous",
    "aten.detach",
    "aten.alias",
    "aten.lift_fresh",
    "aten.view_as",
    zeros=with_self,
)
def same(call: OpCall) -> None:
    """The tensor itself, moved, cast or copied: still a pure view."""
    call.set_output(call.axes("self"), view_of="self")


@rule("aten.log_sigmoid_forward")
def log_sigmoid(call: OpCall) -> None:
    """Elementwise, with a second output for the backward pass that may be empty."""
    call.set_output(call.axes("self"), call.outputs[0])


@rule("aten.zeros_like", "aten.ones_like", "aten.full_like", "aten.empty_like")
def same_size(call: OpCall) -> None:
    """A constant of the shape of a labelled tensor shrinks with it."""
    call.set_output(call.axes("self"))


@rule("aten._local_scalar_dense", "aten.is_nonzero")
def read_as_number(call: OpCall) -> None:
    """A tensor read as a Python number, which no label can follow."""
    axes = call.axes("self")
    call.freeze_dims(axes, range(len(axes)), "the forward reads it as a Python number")
