"""Window attention of timm: its heads after a cut, and which saved tensors fit each other."""

from __future__ import annotations

import pytest
import torch
from surgery.layers.cuts import agreements, cut
from torch import nn

from lzero.surgery.cosine_attention import CosineAttention
from lzero.surgery.layer_sizes import refresh_sizes
from lzero.surgery.qkv_attention import CovarianceAttention, QkvAttention
from lzero.surgery.query_attention import ClassAttention, ReducedAttention

FITS = {
    "qkv.weight": (12, 12), "q_bias": (4,), "v_bias": (4,), "proj.weight": (12, 4), "logit_scale": (1, 1, 1),
    "cpb_mlp.2.weight": (1, 5),
}  # fmt: skip


class WindowAttention(nn.Module):
    """The tensors of the class of that name in timm, of 3 heads of 4."""

    __module__ = "timm.models.swin_transformer_v2"
    __qualname__ = "WindowAttention"

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.qkv, self.proj = 3, nn.Linear(12, 36, bias=False), nn.Linear(12, 12)
        self.attn_drop = self.proj_drop = nn.Identity()
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(12)), nn.Parameter(torch.zeros(12))
        self.register_buffer("k_bias", torch.zeros(12))
        self.register_buffer("relative_coords_table", torch.zeros(1, 3, 3, 2))
        self.register_buffer("relative_position_index", torch.zeros(4, 4, dtype=torch.long))
        self.logit_scale = nn.Parameter(torch.zeros(3, 1, 1))
        self.cpb_mlp = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 3, bias=False))


def test_fewer_heads_get_a_forward_of_their_own() -> None:
    layer = WindowAttention()
    cut(layer.qkv, weight=(24, 12))
    cut(layer.proj, weight=(12, 8))
    cut(layer, q_bias=(8,), k_bias=(8,), v_bias=(8,), logit_scale=(2, 1, 1))
    cut(layer.cpb_mlp[2], weight=(2, 5))
    refresh_sizes(layer)
    assert type(layer) is CosineAttention and layer.num_heads == 2
    assert layer(torch.randn(6, 4, 12), torch.zeros(3, 4, 4)).shape == (6, 4, 12)
    refresh_sizes(layer)
    assert type(layer) is CosineAttention


def test_with_all_heads_it_stays_what_it_was() -> None:
    layer = WindowAttention()
    refresh_sizes(layer)
    assert type(layer) is WindowAttention and layer.num_heads == 3


@pytest.mark.parametrize(
    ("change", "fit"),
    [
        ({}, True),
        ({"q_bias": (8,)}, False),
        ({"proj.weight": (12, 8)}, False),
        ({"logit_scale": (2, 1, 1)}, False),
        ({"cpb_mlp.2.weight": (2, 5)}, False),
    ],
)
def test_saved_tensors_that_fit_each_other(change: dict[str, tuple[int, ...]], fit: bool) -> None:
    assert agreements(WindowAttention(), FITS | change) is fit


class XCA(nn.Module):
    """The tensors of the class of that name in timm's XCiT, of 3 heads of 4."""

    __module__ = "timm.models.xcit"
    __qualname__ = "XCA"

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.qkv, self.proj = 3, nn.Linear(12, 36), nn.Linear(12, 12)
        self.temperature = nn.Parameter(torch.zeros(3, 1, 1))


class Scaled(nn.Module):
    """Those of its DaViT: the size of a head is that of its scale."""

    __module__ = "timm.models.davit"
    __qualname__ = "WindowAttention"

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.qkv, self.proj = 3, nn.Linear(12, 36), nn.Linear(12, 12)
        self.scale = 4**-0.5


@pytest.mark.parametrize(("layer", "kind"), [(XCA(), CovarianceAttention), (Scaled(), QkvAttention)])
def test_heads_behind_one_projection(layer: nn.Module, kind: type[nn.Module]) -> None:
    refresh_sizes(layer)
    assert type(layer) in (XCA, Scaled) and layer.num_heads == 3
    cut(layer.get_submodule("qkv"), weight=(24, 12), bias=(24,))
    cut(layer.get_submodule("proj"), weight=(12, 8))
    if isinstance(layer, XCA):
        cut(layer, temperature=(2, 1, 1))
    refresh_sizes(layer)
    assert type(layer) is kind and layer.num_heads == 2
    assert layer(torch.randn(2, 5, 12)).shape == (2, 5, 12)


@pytest.mark.parametrize(("rows", "temperatures", "fit"), [(24, 2, True), (24, 3, False), (18, 2, False)])
def test_saved_heads_are_whole(rows: int, temperatures: int, fit: bool) -> None:
    shapes = {"qkv.weight": (rows, 12), "proj.weight": (12, rows // 3)}
    assert agreements(XCA(), shapes | {"temperature": (temperatures, 1, 1)}) is fit
    assert agreements(Scaled(), shapes) is (rows % 12 == 0)


class ClassAttn(nn.Module):
    """The tensors of the class of that name in timm's CaiT, of 3 heads of 4."""

    __module__ = "timm.models.cait"
    __qualname__ = "ClassAttn"

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.scale = 3, 4**-0.5
        self.attn_drop = self.proj_drop = nn.Identity()
        self.q, self.k, self.v, self.proj = (nn.Linear(12, 12) for _ in range(4))


def test_heads_with_queries_of_their_own() -> None:
    layer = ClassAttn()
    refresh_sizes(layer)
    assert type(layer) is ClassAttn and layer.num_heads == 3
    for part in (layer.q, layer.k, layer.v):
        cut(part, weight=(8, 12), bias=(8,))
    cut(layer.proj, weight=(12, 8))
    refresh_sizes(layer)
    assert type(layer) is ClassAttention and layer.num_heads == 2
    assert layer(torch.randn(2, 5, 12)).shape == (2, 1, 12)


@pytest.mark.parametrize(("rows", "values", "fit"), [(8, 8, True), (8, 4, False), (6, 6, False)])
def test_saved_queries_keys_and_values_are_alike(rows: int, values: int, fit: bool) -> None:
    shapes = {"q.weight": (rows, 12), "k.bias": (rows,), "v.weight": (values, 12), "proj.weight": (12, rows)}
    assert agreements(ClassAttn(), shapes) is fit


class Attention(nn.Module):
    """Those of its PVT v2: keys and values of a smaller image."""

    __module__ = "timm.models.pvt_v2"
    __qualname__ = "Attention"

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.scale, self.pool, self.act = 3, 4**-0.5, None, None
        self.attn_drop = self.proj_drop = nn.Identity()
        self.q, self.kv, self.proj = nn.Linear(12, 12), nn.Linear(12, 24), nn.Linear(12, 12)
        self.sr, self.norm = nn.Conv2d(12, 12, 2, stride=2), nn.LayerNorm(12)


def test_a_smaller_image_narrower_than_the_stream_is_enough() -> None:
    layer = Attention()
    refresh_sizes(layer)
    assert type(layer) is Attention
    cut(layer.sr, weight=(8, 12, 2, 2), bias=(8,))
    cut(layer.norm, weight=(8,), bias=(8,))
    cut(layer.kv, weight=(24, 8))
    for part in (layer.norm, layer):
        refresh_sizes(part)
    assert type(layer) is ReducedAttention and layer.num_heads == 3
    assert layer(torch.randn(2, 24, 12), (4, 6)).shape == (2, 24, 12)
