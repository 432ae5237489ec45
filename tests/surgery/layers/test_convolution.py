"""Convolutions: channels and groups after a cut, and widths that agree, in every form and number of dims."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from surgery.layers.cuts import agreements, cut
from torch import nn

from lzero.surgery.layer_sizes import refresh_sizes

FORMS: dict[str, tuple[Any, dict[str, tuple[int, ...]], tuple[int, int, int]]] = {
    # by name: the layer, the shapes that are left, and its channels read, made, and groups
    "plain": (lambda: nn.Conv2d(6, 4, 1), {"weight": (3, 2, 1, 1), "bias": (3,)}, (2, 3, 1)),
    "1d": (lambda: nn.Conv1d(6, 4, 1), {"weight": (3, 2, 1), "bias": (3,)}, (2, 3, 1)),
    "3d": (lambda: nn.Conv3d(6, 4, 1), {"weight": (3, 2, 1, 1, 1), "bias": (3,)}, (2, 3, 1)),
    "grouped": (lambda: nn.Conv2d(6, 4, 1, groups=2), {"weight": (2, 2, 1, 1), "bias": (2,)}, (4, 2, 2)),
    "depthwise": (lambda: nn.Conv2d(6, 6, 1, groups=6), {"weight": (4, 1, 1, 1), "bias": (4,)}, (4, 4, 4)),
    "depthwise, times two": (
        lambda: nn.Conv2d(3, 6, 1, groups=3), {"weight": (4, 1, 1, 1), "bias": (4,)}, (2, 4, 2)
    ),
    "depthwise, one left": (lambda: nn.Conv2d(6, 6, 1, groups=6), {"weight": (1, 1, 1, 1), "bias": (1,)}, (1, 1, 1)),
    "transposed": (lambda: nn.ConvTranspose2d(6, 4, 1), {"weight": (2, 3, 1, 1), "bias": (3,)}, (2, 3, 1)),
    "transposed, grouped": (
        lambda: nn.ConvTranspose2d(6, 4, 1, groups=2), {"weight": (4, 1, 1, 1), "bias": (2,)}, (4, 2, 2)
    ),
    "transposed, depthwise": (
        lambda: nn.ConvTranspose2d(6, 12, 1, groups=6), {"weight": (4, 2, 1, 1), "bias": (8,)}, (4, 8, 4)
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_channels_and_groups_follow_the_tensors(form: str) -> None:
    build, shapes, (read, made, groups) = FORMS[form]
    layer = build()
    assert agreements(layer, shapes)
    cut(layer, **shapes)
    refresh_sizes(layer)
    assert (layer.in_channels, layer.out_channels, layer.groups) == (read, made, groups)
    space = [2] * (layer.weight.dim() - 2)
    assert layer(torch.ones(1, read, *space)).shape == (1, made, *space)


@pytest.mark.parametrize("form", FORMS)
def test_a_bias_of_another_width_is_refused(form: str) -> None:
    build, shapes, _ = FORMS[form]
    (width,) = shapes["bias"]
    assert not agreements(build(), {**shapes, "bias": (width + 1,)})


def test_channels_that_the_groups_do_not_divide_are_refused() -> None:
    assert not agreements(nn.Conv2d(6, 4, 1, groups=2), {"weight": (3, 2, 1, 1), "bias": (3,)})
    assert not agreements(nn.ConvTranspose2d(6, 4, 1, groups=2), {"weight": (3, 1, 1, 1), "bias": (2,)})
    assert not agreements(nn.Conv2d(3, 6, 1, groups=3), {"weight": (3, 1, 1, 1), "bias": (3,)})
