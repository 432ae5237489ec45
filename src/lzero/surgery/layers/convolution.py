"""Convolutions, plain and transposed, in groups and depthwise."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from lzero._torch import CONVOLUTIONS
from lzero.surgery.layers.registry import cached_sizes, saved_extents
from lzero.surgery.layers.saved import Extent, Saved


@cached_sizes(*CONVOLUTIONS)
def convolution_sizes(module: Any) -> None:
    """Of a weight [out, in / groups, ...], or transposed [in, out / groups, ...]."""
    first, second = module.weight.shape[:2]
    made, read = (second, first) if module.transposed else (first, second)
    if module.groups > 1 and module.groups == module.in_channels:  # depthwise: one group a channel
        per_group = module.out_channels // module.groups
        module.groups = (first if module.transposed else first // per_group) or 1
    module.in_channels = read if module.transposed else read * module.groups
    module.out_channels = made * module.groups if module.transposed else made


@saved_extents(*CONVOLUTIONS, one_dtype=True)
def convolution_extents(module: Any, saved: Saved) -> Iterator[Iterator[Extent]]:
    """One bias a channel made, and channels that the groups divide."""
    depthwise = 1 < module.groups == module.in_channels
    if module.transposed:
        groups = saved.size("weight", 0) if depthwise else module.groups
        yield chain(saved.extent("weight", 1, times=groups), saved.extent("bias", 0))
        if not depthwise:
            yield saved.extent("weight", 0, over=groups)
        return
    yield saved.extents(weight=0, bias=0)
    yield saved.extent("weight", 0, over=module.out_channels // module.groups if depthwise else module.groups)
