"""The multi-head attention of PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from torch import nn

from lzero._torch import avoid_fused_attention
from lzero.surgery.headed_attention import HeadedAttention
from lzero.surgery.layers.registry import cached_sizes, saved_extents
from lzero.surgery.layers.saved import Extent, Saved


@cached_sizes(nn.MultiheadAttention)
def attention_sizes(module: nn.MultiheadAttention) -> None:
    """Heads, of projections [3 * heads * head_dim, in] or [heads * head_dim, in].

    Fewer heads than the embedding has room for need a forward of their own.
    """
    fused, query = module.in_proj_weight, module.q_proj_weight
    width = query.shape[0] if fused is None else fused.shape[0] // 3
    if type(module) is nn.MultiheadAttention and width != module.num_heads * module.head_dim:
        module.__class__ = HeadedAttention
        avoid_fused_attention(module)
    module.num_heads = width // module.head_dim


@saved_extents(nn.MultiheadAttention, one_dtype=True)
def attention_extents(module: nn.MultiheadAttention, saved: Saved) -> Iterator[Iterator[Extent]]:
    """One width of queries, keys and values, made of whole heads."""
    yield chain(
        *(saved.extent(name, 0, over=3) for name in ("in_proj_weight", "in_proj_bias")),
        saved.extents(q_proj_weight=0, k_proj_weight=0, v_proj_weight=0, bias_k=2, bias_v=2),
        saved.extent("out_proj.weight", 1),
    )
    yield saved.extent("out_proj.weight", 1, over=module.head_dim)
