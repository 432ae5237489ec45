"""Attention of timm, by name: nothing is imported for models that never met it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from lzero.surgery.cosine_attention import CosineAttention
from lzero.surgery.layers.registry import cached_sizes, saved_extents
from lzero.surgery.layers.saved import Extent, Saved
from lzero.surgery.qkv_attention import QkvAttention
from lzero.surgery.query_attention import QueryAttention
from lzero.surgery.replacements import replace_class

_KINDS = (
    "timm.models.swin_transformer_v2.WindowAttention",
    "timm.models.swin_transformer_v2_cr.WindowMultiHeadAttention",
    CosineAttention,
)
_PLAIN = (
    "timm.models.beit.Attention",
    "timm.models.davit.ChannelAttention",
    "timm.models.davit.WindowAttention",
    "timm.models.edgenext.CrossCovarianceAttn",
    "timm.models.nest.Attention",
    "timm.models.twins.LocallyGroupedAttn",
    "timm.models.vision_transformer_relpos.RelPosAttention",
    "timm.models.xcit.XCA",
    QkvAttention,
)
_QUERY = (
    "timm.models.cait.ClassAttn",
    "timm.models.crossvit.CrossAttention",
    "timm.models.pvt_v2.Attention",
    "timm.models.twins.GlobalSubSampleAttn",
    QueryAttention,
)


@cached_sizes(*_KINDS)
def cosine_attention_sizes(module: Any) -> None:
    """Heads, of one scale each; where they make less than the stream, another class."""
    module.num_heads = module.logit_scale.shape[0]
    made, read = module.qkv.weight.shape
    if made != 3 * read:
        replace_class(module)


@saved_extents(*_KINDS)
def cosine_attention_extents(module: Any, saved: Saved) -> Iterator[Iterator[Extent]]:
    """One width of queries, keys and values, made of whole heads of one size."""
    each = module.qkv.weight.shape[0] // 3 // module.num_heads
    yield chain(
        *(saved.extent(name, 0, over=3) for name in ("qkv.weight", "qkv.bias")),
        saved.extents(q_bias=0, k_bias=0, v_bias=0),
        saved.extent("proj.weight", 1),
        *(saved.extent(name, 0, times=each) for name in ("logit_scale", "cpb_mlp.2.weight", "meta_mlp.fc2.weight")),
    )


@cached_sizes(*_PLAIN)
def qkv_attention_sizes(module: Any) -> None:
    """Heads of the size that the scale tells, or one a temperature.

    Heads that do not make what the stream has room for need a forward of their own.
    """
    made, read = module.qkv.weight.shape
    warm = getattr(module, "temperature", None)
    module.num_heads = made // (3 * _head_size(module)) if warm is None else warm.shape[0]
    if made != 3 * read:
        replace_class(module)


@saved_extents(*_PLAIN)
def qkv_attention_extents(module: Any, saved: Saved) -> Iterator[Iterator[Extent]]:
    """One width of queries, keys and values, made of whole heads of one size."""
    each = _head_size(module)
    yield chain(
        *(saved.extent(name, 0, over=3) for name in ("qkv.weight", "qkv.bias")),
        saved.extents(q_bias=0, k_bias=0, v_bias=0),
        saved.extent("proj.weight", 1),
        saved.extent("relative_position_bias_table", 1, times=each),
        saved.extent("temperature", 0, times=each),
    )
    yield saved.extent("proj.weight", 1, over=each)


@cached_sizes(*_QUERY)
def query_attention_sizes(module: Any) -> None:
    """Heads of the size that the scale tells.

    Heads, or a smaller image, that are not as wide as the stream need a forward of their own.
    """
    read, made = module.proj.weight.shape
    module.num_heads = made // _head_size(module)
    smaller = getattr(module, "sr", None)
    if made != read or (smaller is not None and smaller.weight.shape[0] != read):
        replace_class(module)


@saved_extents(*_QUERY)
def query_attention_extents(module: Any, saved: Saved) -> Iterator[Iterator[Extent]]:
    """One width of queries, keys and values, made of whole heads of one size."""
    leaves = [f"{name}.{leaf}" for name in ("q", "k", "v", "wq", "wk", "wv") for leaf in ("weight", "bias")]
    yield chain(
        saved.extents(**dict.fromkeys(leaves, 0)),
        *(saved.extent(name, 0, over=2) for name in ("kv.weight", "kv.bias")),
        saved.extent("proj.weight", 1),
    )
    yield saved.extent("proj.weight", 1, over=_head_size(module))


def _head_size(module: Any) -> int:
    if hasattr(module, "scale"):
        size: int = round(module.scale**-2)
        return size
    return int(module.qkv.weight.shape[0]) // 3 // int(module.temperature.shape[0])
