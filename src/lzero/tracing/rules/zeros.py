"""What makes the output of an op zero, from what makes its arguments zero."""

from __future__ import annotations

from lzero.tracing.label import Zeroing
from lzero.tracing.op_call import OpCall


def with_self(call: OpCall) -> Zeroing:
    """An op that moves, sums or scales its first argument: zero where that is."""
    return call.zeroing("self" if "self" in call.arguments else "input")


def with_a_factor(call: OpCall) -> Zeroing:
    """A product, zero where either factor is."""
    return call.zeroing("self") or call.zeroing("other")


def with_a_batched_factor(call: OpCall) -> Zeroing:
    """A batched matrix product, zero where either side is; a parameter that is one of them counts itself."""
    return call.zeroing("self", parameter=True) or call.zeroing("mat2", parameter=True)


def with_both_terms(call: OpCall) -> Zeroing:
    """A sum, zero where both terms are; parameters count themselves."""
    return _both(*(call.zeroing(name, parameter=True) for name in ("self", "other")))


def with_term_and_batched_factor(call: OpCall) -> Zeroing:
    """A batched matrix product with something added: zero where that and either side are."""
    product = call.zeroing("batch1", parameter=True) or call.zeroing("batch2", parameter=True)
    return _both(call.zeroing("self", parameter=True), product)


def _both(one: Zeroing, two: Zeroing) -> Zeroing:
    return one | two if one and two else frozenset()
