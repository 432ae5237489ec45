"""Convolutions in every number of dims: plain, grouped, depthwise and transposed."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from lzero.tracing.label import IntArray, fixed
from lzero.tracing.op_call import OpCall
from lzero.tracing.rules.linear import read
from lzero.tracing.rules.registry import rule


@rule("aten.convolution")
def convolution(call: OpCall) -> None:
    """Input [B, I, *space], weight [O, I / groups, *kernel] or transposed [I, O / groups, *kernel], bias [O]."""
    image, weight = call.axes("input"), call.axes("weight")
    call.freeze_dims(image, range(2, len(image)), "units lie along a spatial dim")
    call.freeze_dims(weight, range(2, len(weight)), "")
    read_dim, made_dim = (0, 1) if call["transposed"] else (1, 0)
    per_group = image[1].size // call["groups"]
    if call["groups"] == 1:
        read(call, "input", image[1], "weight", weight[read_dim])
        channels = weight[made_dim]
    elif per_group == 1:
        channels = _depthwise(call, image[1], weight)
    else:
        channels = _grouped(call, image[1], weight, read_dim, made_dim)
    if isinstance(call.get("bias"), Tensor):
        channels = call.unify(channels, call.axes("bias")[0])
    call.count("weight", _macs(call))
    out = call.outputs[0]
    call.set_output((image[0], channels, *fixed(tuple(out.shape[2:]))))


def _depthwise(call: OpCall, image: IntArray, weight: tuple[IntArray, ...]) -> IntArray:
    """Channel c makes the m channels c * m ... c * m + m - 1: they come and go with it. Returns their labels."""
    multiple = call.outputs[0].shape[1] // image.size
    if call["transposed"]:  # weight [I, m, *kernel]
        call.freeze(weight[1], "all channels of a depthwise convolution share it")
        return np.repeat(call.unify(image, weight[0]), multiple)
    made = weight[0]  # [I * m]
    call.unify(np.repeat(image, multiple), made)
    return made


def _grouped(call: OpCall, image: IntArray, weight: tuple[IntArray, ...], read_dim: int, made_dim: int) -> IntArray:
    """Each group loses the same indices: index j is one unit in all of them. Returns the output labels [O]."""
    groups = call["groups"]
    tied = call.unify_rows(image.reshape(groups, -1).T)  # [I / groups]
    if call["transposed"]:
        read(call, "input", image, "weight", weight[read_dim])
        return np.tile(weight[made_dim], groups)
    read(call, "input", tied, "weight", weight[read_dim])
    call.unify_rows(weight[made_dim].reshape(groups, -1).T)
    return weight[made_dim]


def _macs(call: OpCall) -> int:
    """Every weight element is used once per position: of the output, or of the input where transposed."""
    image = call["input"] if call["transposed"] else call.outputs[0]
    return int(image.numel() // image.shape[1] * call["weight"].numel())
