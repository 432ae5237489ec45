"""Tensors that the forward makes of one number: their dims take whatever size meets them."""

from __future__ import annotations

from lzero.tracing.op_call import OpCall
from lzero.tracing.rules.registry import rule

FACTORIES = (
    "aten.zeros",
    "aten.ones",
    "aten.full",
    "aten.empty",
    "aten.new_zeros",
    "aten.new_ones",
    "aten.new_full",
    "aten.new_empty",
    "aten.new_empty_strided",
    "aten.empty_strided",
)


@rule(*FACTORIES)
def constant(call: OpCall) -> None:
    """Labels of its own for every dim: the zero state of a recurrent layer has as many units as the layer.

    Its size may be a literal in the forward, which the proof then finds.
    """
    out = call.outputs[0]
    if out.is_floating_point() and out.numel() <= 1 << 22:
        call.set_output([call.fresh(size) for size in out.shape])
