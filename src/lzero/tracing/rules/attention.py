"""Scaled dot-product attention in its fused forms: heads stay free, the features of queries and keys do not."""

from __future__ import annotations

from torch import Tensor

from lzero.tracing.label import IntArray
from lzero.tracing.op_call import OpCall
from lzero.tracing.rules.registry import rule


@rule(
    "aten._scaled_dot_product_flash_attention_for_cpu",
    "aten._scaled_dot_product_flash_attention",
    "aten._scaled_dot_product_efficient_attention",
    "aten._scaled_dot_product_cudnn_attention",
    "aten._scaled_dot_product_fused_attention_overrideable",
    "aten._scaled_dot_product_attention_math",
)
def attention(call: OpCall) -> None:
    """Query [B, H, Q, D], key [B, K, S, D], value [B, K, S, V] -> [B, H, Q, V]; H / K queries share each key."""
    query, key, value = (call.axes(name) for name in ("query", "key", "value"))
    for labels in (query[-1], key[-1]):
        call.freeze(labels, "queries and keys are compared over all its features", "whole heads are gated instead")
    for labels in (query[-2], key[-2], value[-2]):
        call.freeze(labels, "attention compares all positions")
    batch = call.unify(query[0], call.unify(key[0], value[0]))
    heads = _heads(call, query[1], call.unify(key[1], value[1]))
    for name in ("attn_mask", "attn_bias"):
        if isinstance(call.get(name), Tensor):
            _mask(call, call.axes(name), batch, heads)
    call.set_output((batch, heads, query[-2], value[-1]), call.outputs[0])


def _heads(call: OpCall, queries: IntArray, keys: IntArray) -> IntArray:
    """Labels [H] of the query heads, those that share one of the keys [K] tied to it."""
    shared = queries.size // keys.size
    return call.unify(queries, keys.repeat(shared))


def _mask(call: OpCall, mask: tuple[IntArray, ...], batch: IntArray, heads: IntArray) -> None:
    """Tie a mask [..., Q, S] to the batch and heads that it is added to."""
    for labels in mask[-2:]:
        call.freeze(labels, "attention compares all positions")
    for labels, met in zip(mask[-3::-1], (heads, batch), strict=False):
        if labels.size == met.size:
            call.unify(labels, met)
        else:
            call.freeze(labels, "one unit is spread over many")
