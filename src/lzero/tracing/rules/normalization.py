"""Normalisation: per channel couples, over channels freezes."""

from __future__ import annotations

from torch import Tensor

from lzero.tracing.label import IntArray
from lzero.tracing.op_call import OpCall
from lzero.tracing.rules.registry import rule

_STANDARDISED = "the layer standardises its weight over all that one output reads"
_FOLD = (
    "closed inputs would still count there: keep the finished weight as the parameter (fold it), or gate other layers"
)


@rule(
    "aten.native_batch_norm",
    "aten._native_batch_norm_legit",
    "aten._native_batch_norm_legit_no_training",
    "aten._batch_norm_no_update",
    "aten._batch_norm_with_update",
    "aten.cudnn_batch_norm",
    "aten.miopen_batch_norm",
)
def batch_norm(call: OpCall) -> None:
    """Each channel (dim 1) belongs with its affine parameters and statistics."""
    axes = call.axes("input")
    if call.get("training") and call.computed("input"):
        call.freeze_dims(axes, [dim for dim in range(len(axes)) if dim != 1], _STANDARDISED, _FOLD)
    channel = _with_parameters(call, axes[1], "weight", "bias", "running_mean", "running_var")
    image, *statistics = call.outputs
    call.set_output((axes[0], channel, *axes[2:]), image)
    for out in statistics:
        if tuple(out.shape) == channel.shape:
            call.set_output((channel,), out)


@rule("aten.native_layer_norm", "aten._fused_rms_norm")
def layer_norm(call: OpCall) -> None:
    """The normalised dims freeze, where no width is asked for: every unit enters the statistics of all others."""
    axes = list(call.axes("input"))
    first = len(axes) - len(call["normalized_shape"])
    part = "norm" if call.op == "aten.native_layer_norm" else "rms"
    over, why = range(first, len(axes)), "the layer normalises over all units together"
    if not call.normalises(part, "input", over, why, _STREAM):
        call.freeze_dims(axes, over, why, _STREAM)
    for position in range(first, len(axes)):
        for name in ("weight", "bias"):
            if isinstance(call.get(name), Tensor):
                axes[position] = call.unify(axes[position], call.axes(name)[position - first])
    call.set_output(axes, call.outputs[0])


_STREAM = 'granularity="width" gates them, where the norm is a module of its own; a closed unit must not enter it'


@rule("aten.native_group_norm")
def group_norm(call: OpCall) -> None:
    """Channels that share a group with others freeze, where no width is asked for; else channel j of all groups is one.

    One channel a group acts like an instance norm.
    """
    axes = call.axes("input")
    channel = _with_parameters(call, axes[1], "weight", "bias")
    groups, channels = int(call["group"]), int(call["C"])
    if groups != channels:
        why = "GroupNorm normalises over several channels of a group"
        if call.normalises("norm", "input", range(1, len(axes)), why, _CHANNELS, groups):
            call.unify_rows(channel.reshape(groups, -1).T)
        else:
            call.freeze(channel, why, _CHANNELS)
    call.set_output((axes[0], channel, *axes[2:]), call.outputs[0])


_CHANNELS = (
    'granularity="width" gates channel j of all groups together; one channel a group, or BatchNorm, leaves them free'
)


@rule("aten._weight_norm_interface", "aten._weight_norm")
def weight_norm(call: OpCall) -> None:
    """A weight ``g v / |v|``: index j of ``dim`` needs g[j] and v[j] alone; the dims under the norm freeze."""
    direction, dim = list(call.axes("v")), call["dim"]
    for position, labels in enumerate(direction):
        if position == dim:
            direction[dim] = call.unify(labels, call.axes("g")[dim])
        else:
            call.freeze(
                labels,
                "weight_norm divides by a norm over all its inputs",
                "remove weight_norm from the layer that reads the units, or gate the units that it makes",
            )
    call.set_output(direction, call.outputs[0])


def _with_parameters(call: OpCall, channel: IntArray, *names: str) -> IntArray:
    """``channel`` [C] tied to those of the per-channel arguments ``names`` that the call has."""
    for name in names:
        tensor = call.get(name)
        if isinstance(tensor, Tensor) and tensor.dim() == 1:
            channel = call.unify(channel, call.axes(tensor)[0])
    return channel
