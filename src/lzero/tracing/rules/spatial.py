"""Ops on space: pooling, resizing, padding and windows leave batch and channels alone."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from lzero.tracing.label import fixed
from lzero.tracing.op_call import OpCall, dims_of
from lzero.tracing.rules.registry import rule

_KINDS = (
    "max_pool{n}d_with_indices",
    "avg_pool{n}d",
    "_adaptive_avg_pool{n}d",
    "adaptive_avg_pool{n}d",
    "adaptive_max_pool{n}d",
    "fractional_max_pool{n}d",
    "max_unpool{n}d",
    "reflection_pad{n}d",
    "replication_pad{n}d",
    "upsample_nearest{n}d",
    "_upsample_nearest_exact{n}d",
    "upsample_linear{n}d",
    "upsample_bilinear{n}d",
    "upsample_bicubic{n}d",
    "upsample_trilinear{n}d",
    "_upsample_bilinear{n}d_aa",
    "_upsample_bicubic{n}d_aa",
)


@rule(*(f"aten.{kind.format(n=n)}" for kind in _KINDS for n in (1, 2, 3)))
def over_space(call: OpCall) -> None:
    """The last n dims of an n-dimensional op freeze; the others keep their labels."""
    axes = call.axes("self" if "self" in call.arguments else "input")
    found = re.search(r"([123])d", call.op)
    space = int(found.group(1)) if found else len(axes)
    lead = call.freeze_dims(axes, range(len(axes) - space, len(axes)), "units lie along a spatial dim")[:-space]
    for out in call.outputs:
        if out.dim():
            call.set_output((*lead, *fixed(tuple(out.shape[-space:]))), out)


@rule("aten.constant_pad_nd")
def pad(call: OpCall) -> None:
    """Padding adds fixed indices to a dim; cropping (a negative pad) freezes it."""
    axes = list(call.axes("self"))
    amounts: Sequence[int] = call["pad"]
    for position, (before, after) in enumerate(zip(amounts[::2], amounts[1::2], strict=True)):
        dim = len(axes) - 1 - position
        if before < 0 or after < 0:
            call.freeze(axes[dim], "the forward crops the dim by a literal size")
            axes[dim] = fixed((call.outputs[0].shape[dim],))[0]
        else:
            axes[dim] = np.pad(axes[dim], (before, after))
    call.set_output(axes)


@rule("aten.grid_sampler_2d", "aten.grid_sampler_3d", "aten.cudnn_grid_sampler")
def grid_sampler(call: OpCall) -> None:
    """Points of an image [B, C, *space] at the places of a grid [B, *out, n]: batch and channels stay free."""
    image, grid = call.axes("input" if "input" in call.arguments else "self"), call.axes("grid")
    call.freeze_dims(image, range(2, len(image)), "units lie along a spatial dim")
    call.freeze_dims(grid, range(1, len(grid)), "it is used as a place in an image")
    call.set_output((call.unify(image[0], grid[0]), image[1], *fixed(tuple(call.outputs[0].shape[2:]))))


@rule("aten.im2col")
def windows(call: OpCall) -> None:
    """[B, C, *space] to [B, C * window, places]: channel c becomes the elements c * window, ... of every window."""
    axes, out = call.axes("self"), call.outputs[0]
    lead, channels = axes[:-3], axes[-3]
    call.freeze_dims(axes, (-2, -1), "units lie along a spatial dim")
    each = np.repeat(channels, out.shape[-2] // channels.size)
    call.set_output((*lead, each, *fixed((out.shape[-1],))))


@rule("aten.col2im")
def from_windows(call: OpCall) -> None:
    """[B, C * window, places] to [B, C, *space]: the elements of a channel's windows are one unit."""
    *lead, each, places = call.axes("self")
    out = call.outputs[0]
    call.freeze(places, "units lie along a spatial dim")
    channels = call.unify_rows(each.reshape(out.shape[-3], -1))
    call.set_output((*lead, channels, *fixed(tuple(out.shape[-2:]))))


@rule("aten.unfold")
def sliding(call: OpCall) -> None:
    """Windows along one dim, their elements a new last dim: the dim freezes, the others keep their units."""
    axes, out = list(call.axes("self")), call.outputs[0]
    dim = dims_of(call["dimension"], len(axes))[0]
    call.freeze(axes[dim], "the forward reads the dim in windows")
    axes[dim] = fixed((out.shape[dim],))[0]
    call.set_output([*axes, *fixed((out.shape[-1],))])
