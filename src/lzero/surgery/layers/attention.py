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
    """Heads and streams, of projections [3 * heads * head_dim, in] or [heads * head_dim, in].

    Heads that do not make what the embedding has room for need a forward of their own.
    """
    fused, query, key, value = module.in_proj_weight, module.q_proj_weight, module.k_proj_weight, module.v_proj_weight
    if fused is None:
        width, module.embed_dim = query.shape[0], query.shape[-1]
        module.kdim, module.vdim = key.shape[-1], value.shape[-1]
    else:
        width, module.embed_dim = fused.shape[0] // 3, fused.shape[1]
        module.kdim = module.vdim = module.embed_dim
    if type(module) is nn.MultiheadAttention and width != module.embed_dim:
        module.__class__ = HeadedAttention
        avoid_fused_attention(module)
    module.num_heads = width // module.head_dim


@cached_sizes(nn.Transformer)
def transformer_sizes(module: nn.Transformer) -> None:
    """Of the stream that its own layers read."""
    layers = list(getattr(module.encoder, "layers", ()))
    if layers and isinstance(layers[0], nn.TransformerEncoderLayer):
        module.d_model = layers[0].linear1.weight.shape[1]


@saved_extents(nn.MultiheadAttention, one_dtype=True)
def attention_extents(module: nn.MultiheadAttention, saved: Saved) -> Iterator[Iterator[Extent]]:
    """One width of queries, keys and values, made of whole heads."""
    yield chain(
        *(saved.extent(name, 0, over=3) for name in ("in_proj_weight", "in_proj_bias")),
        saved.extents(q_proj_weight=0, k_proj_weight=0, v_proj_weight=0, bias_k=2, bias_v=2),
        saved.extent("out_proj.weight", 1),
    )
    yield saved.extent("out_proj.weight", 1, over=module.head_dim)
