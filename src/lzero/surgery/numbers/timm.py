"""The attention of timm: heads, their size, and what they make together, behind one fused or three projections."""

from __future__ import annotations

from lzero.surgery.numbers.registry import Role, number_family

_ROLES = {
    "num_heads": Role.HEADS,
    "head_dim": Role.HEAD_SIZE,
    "key_dim": Role.HEAD_SIZE,
    "attn_dim": Role.INNER,
    "dim": Role.SIZE,
    "dim_out": Role.SIZE,
    "num_prefix_tokens": Role.STAYS,
    "window_area": Role.STAYS,
}


@number_family("timm.*Attention*")
def timm_attention(name: str) -> Role | None:
    """By the names that its layers use; others are told by their words."""
    return _ROLES.get(name)
