"""The multi-head attention of PyTorch: heads after a cut, and widths made of whole heads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from surgery.layers.cuts import agreements, cut
from torch import nn

from lzero.surgery.headed_attention import HeadedAttention
from lzero.surgery.layer_sizes import refresh_sizes

FUSED = {"in_proj_weight": (18, 8), "in_proj_bias": (18,), "out_proj.weight": (8, 6), "out_proj.bias": (8,)}
SEPARATE: dict[str, Any] = {
    "q_proj_weight": (6, 8), "k_proj_weight": (6, 5), "v_proj_weight": (6, 7), "in_proj_bias": (18,),
    "out_proj.weight": (8, 6), "out_proj.bias": (8,),
}  # fmt: skip


def test_fewer_heads_get_a_forward_of_their_own() -> None:
    layer = nn.MultiheadAttention(8, 4, batch_first=True)
    cut(layer, in_proj_weight=(18, 8), in_proj_bias=(18,))
    cut(layer.out_proj, weight=(8, 6))
    refresh_sizes(layer)
    assert type(layer) is HeadedAttention and (layer.num_heads, layer.head_dim) == (3, 2)
    x = torch.randn(2, 5, 8)
    assert layer(x, x, x)[0].shape == x.shape


def test_with_all_heads_it_stays_what_it_was() -> None:
    layer = nn.MultiheadAttention(8, 4)
    refresh_sizes(layer)
    assert type(layer) is nn.MultiheadAttention and layer.num_heads == 4


def test_a_subclass_keeps_its_forward() -> None:
    class Mine(nn.MultiheadAttention):
        pass

    layer = Mine(8, 4)
    cut(layer, in_proj_weight=(12, 8), in_proj_bias=(12,))
    refresh_sizes(layer)
    assert type(layer) is Mine and layer.num_heads == 2


def test_projections_apart_count_their_heads_too() -> None:
    layer = nn.MultiheadAttention(8, 4, kdim=5, vdim=7)
    cut(layer, **{name: shape for name, shape in SEPARATE.items() if "out_proj" not in name})
    cut(layer.out_proj, weight=(8, 6))
    refresh_sizes(layer)
    assert type(layer) is HeadedAttention and layer.num_heads == 3


@pytest.mark.parametrize(
    ("layer", "shapes"),
    [(nn.MultiheadAttention(8, 4), FUSED), (nn.MultiheadAttention(8, 4, kdim=5, vdim=7), SEPARATE)],
    ids=["fused", "separate"],
)
def test_one_width_of_queries_keys_and_values(layer: nn.Module, shapes: dict[str, tuple[int, ...]]) -> None:
    assert agreements(layer, shapes)
    for name, (first, *rest) in shapes.items():
        if "out_proj" not in name:
            assert not agreements(layer, {**shapes, name: (first - 3 if "in_proj" in name else first - 1, *rest)})
    assert not agreements(layer, {**shapes, "out_proj.weight": (8, 4)})


def test_half_a_head_is_refused() -> None:
    shapes = {"in_proj_weight": (15, 8), "in_proj_bias": (15,), "out_proj.weight": (8, 5), "out_proj.bias": (8,)}
    assert not agreements(nn.MultiheadAttention(8, 4), shapes)
