"""Window attention of torchvision: its heads after a cut, and which saved tensors fit each other."""

from __future__ import annotations

import pytest
import torch
from surgery.layers.cuts import agreements, cut
from torch import nn

from lzero.surgery.layer_sizes import refresh_sizes
from lzero.surgery.window_attention import CosineWindowAttention, WindowAttention

FITS = {
    "qkv.weight": (12, 12), "qkv.bias": (12,), "proj.weight": (12, 4), "relative_position_bias_table": (9, 1),
}  # fmt: skip


class ShiftedWindowAttention(nn.Module):
    """The tensors of the class of that name in torchvision, of 3 heads of 4."""

    __module__ = "torchvision.models.swin_transformer"
    __qualname__ = "ShiftedWindowAttention"

    def __init__(self) -> None:
        super().__init__()
        self.window_size, self.shift_size, self.num_heads = [2, 2], [0, 0], 3
        self.attention_dropout = self.dropout = 0.0
        self.qkv, self.proj = nn.Linear(12, 36), nn.Linear(12, 12)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(9, 3))
        self.register_buffer("relative_position_index", torch.zeros(16, dtype=torch.long))


class ShiftedWindowAttentionV2(ShiftedWindowAttention):
    """Of version 2: without a table, with a scale."""

    __module__ = "torchvision.models.swin_transformer"
    __qualname__ = "ShiftedWindowAttentionV2"

    def __init__(self) -> None:
        super().__init__()
        del self.relative_position_bias_table
        self.register_buffer("relative_coords_table", torch.zeros(1, 3, 3, 2))
        self.logit_scale = nn.Parameter(torch.zeros(3, 1, 1))
        self.cpb_mlp = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 3, bias=False))


def cut_heads(layer: nn.Module) -> None:
    cut(layer.qkv, weight=(24, 12), bias=(24,))
    cut(layer.proj, weight=(12, 8))


def test_fewer_heads_get_a_forward_of_their_own() -> None:
    layer = ShiftedWindowAttention()
    cut_heads(layer)
    cut(layer, relative_position_bias_table=(9, 2))
    refresh_sizes(layer)
    assert type(layer) is WindowAttention and layer.num_heads == 2
    assert layer(torch.randn(2, 4, 3, 12)).shape == (2, 4, 3, 12)
    refresh_sizes(layer)
    assert type(layer) is WindowAttention and layer.num_heads == 2


def test_those_of_version_2_are_counted_by_their_scale() -> None:
    layer = ShiftedWindowAttentionV2()
    cut_heads(layer)
    cut(layer, logit_scale=(2, 1, 1))
    cut(layer.cpb_mlp[2], weight=(2, 5))
    refresh_sizes(layer)
    assert type(layer) is CosineWindowAttention and layer.num_heads == 2
    assert layer(torch.randn(2, 4, 3, 12)).shape == (2, 4, 3, 12)


def test_with_all_heads_it_stays_what_it_was() -> None:
    layer = ShiftedWindowAttention()
    refresh_sizes(layer)
    assert type(layer) is ShiftedWindowAttention and layer.num_heads == 3


@pytest.mark.parametrize(
    ("change", "fit"),
    [
        ({}, True),
        ({"qkv.bias": (24,)}, False),
        ({"proj.weight": (12, 8)}, False),
        ({"relative_position_bias_table": (9, 2)}, False),
        ({"qkv.weight": (13, 12)}, False),
    ],
)
def test_saved_tensors_that_fit_each_other(change: dict[str, tuple[int, ...]], fit: bool) -> None:
    assert agreements(ShiftedWindowAttention(), FITS | change) is fit


def test_a_scale_is_one_of_each_head() -> None:
    shapes = {name: shape for name, shape in FITS.items() if "table" not in name}
    assert agreements(ShiftedWindowAttentionV2(), shapes | {"logit_scale": (1, 1, 1), "cpb_mlp.2.weight": (1, 5)})
    assert not agreements(ShiftedWindowAttentionV2(), shapes | {"logit_scale": (2, 1, 1)})
