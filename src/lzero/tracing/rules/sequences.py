"""Sequences of unequal lengths: their steps are packed and unpacked, their features stay."""

from __future__ import annotations

from lzero.tracing.label import fixed
from lzero.tracing.op_call import OpCall
from lzero.tracing.rules.registry import rule

_STEPS = "steps of sequences are packed by their lengths"


@rule("aten._pack_padded_sequence")
def pack(call: OpCall) -> None:
    """[time, batch, *features], or batch first, to [steps of all, *features], and how many go on at each time."""
    axes = call.freeze_dims(call.axes("input"), (0, 1), _STEPS)
    data, counts = call.outputs
    call.set_output((*fixed((data.shape[0],)), *axes[2:]), data)
    call.set_output(fixed(tuple(counts.shape)), counts)


@rule("aten._pad_packed_sequence")
def pad(call: OpCall) -> None:
    """The way back; what is filled in is a number."""
    axes = call.freeze_dims(call.axes("data"), (0,), _STEPS)
    padded, lengths = call.outputs
    call.set_output((*fixed(tuple(padded.shape[:2])), *axes[1:]), padded)
    call.set_output(fixed(tuple(lengths.shape)), lengths)
