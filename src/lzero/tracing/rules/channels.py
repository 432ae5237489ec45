"""Ops that cut or reorder channels by a literal number: gated linear units and the shuffles."""

from __future__ import annotations

import numpy as np

from lzero.tracing.label import fixed
from lzero.tracing.op_call import OpCall, dims_of
from lzero.tracing.rules.registry import rule


@rule("aten.glu")
def glu(call: OpCall) -> None:
    """Half of a dim gates the other half: index i of both is one unit."""
    axes = list(call.axes("self"))
    dim = dims_of(call["dim"], len(axes))[0]
    axes[dim] = call.unify_rows(axes[dim].reshape(2, -1).T)
    call.set_output(axes)


@rule("aten.pixel_shuffle")
def pixel_shuffle(call: OpCall) -> None:
    """[..., C * r * r, H, W] -> [..., C, H * r, W * r]: the r * r channels of one pixel block are one unit."""
    *lead, channels, height, width = call.axes("self")
    call.freeze_dims((height, width), (0, 1), "units lie along a spatial dim")
    made = call.unify_rows(channels.reshape(call.outputs[0].shape[-3], -1))
    call.set_output((*lead, made, *fixed(tuple(call.outputs[0].shape[-2:]))))


@rule("aten.pixel_unshuffle")
def pixel_unshuffle(call: OpCall) -> None:
    """[..., C, H * r, W * r] -> [..., C * r * r, H, W]: every channel becomes r * r channels of one unit."""
    *lead, channels, height, width = call.axes("self")
    call.freeze_dims((height, width), (0, 1), "units lie along a spatial dim")
    made = np.repeat(channels, call["downscale_factor"] ** 2)
    call.set_output((*lead, made, *fixed(tuple(call.outputs[0].shape[-2:]))))


@rule("aten.channel_shuffle", "aten.native_channel_shuffle")
def channel_shuffle(call: OpCall) -> None:
    """[B, g * n, *space], dim 1 read as [g, n] and transposed: index j of all groups is one unit."""
    axes = list(call.axes("self"))
    grid = axes[1].reshape(call["groups"], -1)  # [g, n]
    call.unify_rows(grid.T)
    axes[1] = grid.T.reshape(-1).copy()
    call.set_output(axes)
