"""Normalizations, by batch, instance, group and layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from lzero._torch import NORMS
from lzero.surgery.layers.registry import cached_sizes, saved_extents
from lzero.surgery.layers.saved import Extent, Saved


@cached_sizes(*NORMS)
def norm_sizes(module: Any) -> None:
    """Of weights or running statistics [features], where it has any."""
    tensor = module.weight if module.weight is not None else module.running_mean
    if isinstance(tensor, Tensor):
        module.num_features = tensor.shape[0]


@saved_extents(*NORMS)
def norm_extents(module: nn.Module, saved: Saved) -> Iterator[Iterator[Extent]]:
    """Everything has one entry a feature."""
    yield saved.extents(weight=0, bias=0, running_mean=0, running_var=0)


@cached_sizes(nn.GroupNorm)
def group_norm_sizes(module: nn.GroupNorm) -> None:
    """Of weights [channels], where it has any."""
    if module.weight is not None:
        left = module.weight.shape[0]
        if module.num_groups == module.num_channels or left < module.num_groups:  # one channel a group
            module.num_groups = left
        module.num_channels = left


@saved_extents(nn.GroupNorm)
def group_norm_extents(module: nn.GroupNorm, saved: Saved) -> Iterator[Iterator[Extent]]:
    """One entry a channel, and channels that the groups divide; fewer where an earlier purge had left them one each."""
    yield saved.extents(weight=0, bias=0)
    if module.num_groups != module.num_channels and module.weight is not None:
        yield saved.extent("weight", 0, over=max(1, min(module.num_groups, saved.size("weight", 0))))


@cached_sizes(nn.LayerNorm, nn.RMSNorm)
def layer_norm_sizes(module: Any) -> None:
    """Of a weight [normalised dims], where it has any."""
    if module.weight is not None:
        module.normalized_shape = tuple(module.weight.shape)


@saved_extents(nn.LayerNorm)
def layer_norm_extents(module: nn.LayerNorm, saved: Saved) -> Iterator[Iterator[Extent]]:
    """One bias a weight."""
    yield saved.extents(weight=0, bias=0)
