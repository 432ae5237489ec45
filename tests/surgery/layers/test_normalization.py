"""Normalizations: features and groups after a cut, and widths that agree."""

from __future__ import annotations

import pytest
import torch
from surgery.layers.cuts import agreements, cut
from torch import nn

from lzero.surgery.layer_sizes import refresh_sizes

AFFINE = {"weight": (3,), "bias": (3,)}
STATISTICS = {"running_mean": (3,), "running_var": (3,)}


@pytest.mark.parametrize(
    ("layer", "shapes"),
    [
        (nn.BatchNorm2d(5), {**AFFINE, **STATISTICS}),
        (nn.BatchNorm2d(5, affine=False), STATISTICS),
        (nn.InstanceNorm2d(5, affine=True), AFFINE),
        (nn.InstanceNorm2d(5, track_running_stats=True), STATISTICS),
    ],
    ids=str,
)
def test_features_follow_whatever_tensors_there_are(layer: nn.Module, shapes: dict[str, tuple[int, ...]]) -> None:
    assert agreements(layer, shapes)
    cut(layer, **shapes)
    refresh_sizes(layer)
    assert layer.num_features == 3 and layer(torch.randn(2, 3, 4, 4)).shape == (2, 3, 4, 4)
    for name in shapes:
        assert not agreements(layer, {**shapes, name: (2,)})


def test_a_norm_without_tensors_keeps_its_size() -> None:
    layer = nn.InstanceNorm2d(5)
    refresh_sizes(layer)
    assert layer.num_features == 5


@pytest.mark.parametrize(("groups", "left"), [(6, 3), (3, 3), (1, 1)])
def test_groups_of_single_channels_leave_with_them(groups: int, left: int) -> None:
    layer = nn.GroupNorm(groups, 6)
    cut(layer, **AFFINE)
    refresh_sizes(layer)
    assert (layer.num_channels, layer.num_groups) == (3, left)
    assert layer(torch.randn(2, 3, 4)).shape == (2, 3, 4)


def test_a_group_norm_without_tensors_keeps_its_sizes() -> None:
    layer = nn.GroupNorm(2, 6, affine=False)
    refresh_sizes(layer)
    assert (layer.num_channels, layer.num_groups) == (6, 2)


def test_channels_that_the_groups_divide() -> None:
    four, three = ({"weight": (n,), "bias": (n,)} for n in (4, 3))
    assert agreements(nn.GroupNorm(2, 6), four) and not agreements(nn.GroupNorm(2, 6), three)
    assert agreements(nn.GroupNorm(6, 6), three)  # one channel a group
    layer = nn.GroupNorm(4, 8)  # so it was left by one purge, and a second one took a channel
    assert agreements(layer, three)
    cut(layer, **AFFINE)
    refresh_sizes(layer)
    assert (layer.num_channels, layer.num_groups) == (3, 3)
    assert agreements(nn.LayerNorm(6), three) and not agreements(nn.LayerNorm(6), {**three, "bias": (4,)})


@pytest.mark.parametrize("kind", [nn.LayerNorm, nn.RMSNorm])
def test_the_normalised_shape_is_that_of_the_weight(kind: type[nn.Module]) -> None:
    layer = kind((4, 3))
    cut(layer, weight=(2, 3))
    refresh_sizes(layer)
    assert layer.normalized_shape == (2, 3)
    bare = kind(4, elementwise_affine=False)
    refresh_sizes(bare)
    assert bare.normalized_shape == (4,)
