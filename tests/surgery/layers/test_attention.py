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


def test_a_narrower_stream_is_its_embedding() -> None:
    layer = nn.MultiheadAttention(8, 4, batch_first=True)
    cut(layer, in_proj_weight=(24, 5))
    cut(layer.out_proj, weight=(5, 8), bias=(5,))
    refresh_sizes(layer)
    assert type(layer) is HeadedAttention and (layer.num_heads, layer.embed_dim, layer.kdim) == (4, 5, 5)
    x = torch.randn(2, 3, 5)
    assert layer(x, x, x)[0].shape == x.shape


def test_where_heads_make_as_much_as_the_stream_is_wide_the_forward_stays() -> None:
    layer = nn.MultiheadAttention(8, 4, batch_first=True)
    cut(layer, in_proj_weight=(12, 4), in_proj_bias=(12,))
    cut(layer.out_proj, weight=(4, 4), bias=(4,))
    refresh_sizes(layer)
    assert type(layer) is nn.MultiheadAttention and (layer.num_heads, layer.embed_dim) == (2, 4)
    x = torch.randn(2, 3, 4)
    assert layer(x, x, x)[0].shape == x.shape


def test_keys_and_values_of_other_streams_follow_theirs() -> None:
    layer = nn.MultiheadAttention(8, 4, kdim=5, vdim=7, batch_first=True)
    cut(layer, q_proj_weight=(8, 6), k_proj_weight=(8, 3), v_proj_weight=(8, 4))
    cut(layer.out_proj, weight=(6, 8), bias=(6,))
    refresh_sizes(layer)
    assert (layer.embed_dim, layer.kdim, layer.vdim, layer.num_heads) == (6, 3, 4, 4)
    query, key, value = torch.randn(2, 3, 6), torch.randn(2, 4, 3), torch.randn(2, 4, 4)
    assert layer(query, key, value)[0].shape == query.shape


def test_a_transformer_knows_the_width_of_its_stream() -> None:
    model = nn.Transformer(8, 2, 1, 1, 12, batch_first=True)
    cut(model.encoder.layers[0].linear1, weight=(12, 5))
    refresh_sizes(model)
    assert model.d_model == 5
    custom = nn.Transformer(8, 2, custom_encoder=nn.Identity(), custom_decoder=nn.Identity())
    refresh_sizes(custom)
    assert custom.d_model == 8


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
