"""The attention of Hugging Face: heads by two names, head sizes by many."""

from __future__ import annotations

from lzero.surgery.numbers.registry import Role, number_family

_HEADS = ("num_heads", "num_attention_heads", "num_key_value_heads", "num_kv_heads", "n_heads", "n_head")
_HEAD_SIZES = (
    "head_dim",
    "attention_head_size",
    "head_size",
    "key_value_proj_dim",
    "v_head_dim",
    "qk_head_dim",
    "qk_nope_head_dim",
    "qk_rope_head_dim",
)
# embed_dim is also the width of the stream, but attention reads it where the results of its heads are joined.
_INNER = ("all_head_size", "split_size", "inner_dim", "internal_dim", "embed_dim", "hidden_size")
_SIZES = ("dim", "d_model")
_STAY = ("num_key_value_groups", "rotary_ndims", "n_levels", "n_points", "window_size", "context_size")

_ROLES = {
    **dict.fromkeys(_HEADS, Role.HEADS),
    **dict.fromkeys(_HEAD_SIZES, Role.HEAD_SIZE),
    **dict.fromkeys(_INNER, Role.INNER),
    **dict.fromkeys(_SIZES, Role.SIZE),
    **dict.fromkeys(_STAY, Role.STAYS),
}


@number_family("transformers.models.*Attention*", "transformers_modules.*Attention*")
def hugging_face_attention(name: str) -> Role | None:
    """By the names that its modeling files use; others are told by their words."""
    return _ROLES.get(name)


@number_family("transformers.models.*")
def hugging_face_model(name: str) -> Role | None:
    """The width that logits of tied embeddings are divided by: a scale that was trained with."""
    return Role.STAYS if name == "model_dim" else None
