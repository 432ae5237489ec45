"""Sums over units: exact where a closed unit adds zero, because a parameter with a slice for every unit multiplies it.

The experts of a mixture are such units: with weights [expert, in, out] in one batched product, each times a weight that
does not depend on the others (a sigmoid, not a softmax), summed at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lzero.tracing.label import IntArray, Zeroing

if TYPE_CHECKING:
    from lzero.plan.refusal import Reason
    from lzero.tracing.label import Slot
    from lzero.tracing.op_call import Call

_KEEP = {
    *("view", "reshape", "_unsafe_view", "permute", "transpose", "t", "unsqueeze", "squeeze", "expand", "slice"),
    *("clone", "_to_copy", "contiguous", "detach", "alias", "neg", "sum", "mean", "dropout"),
}


@dataclass(frozen=True, eq=False)
class Sum:
    """A sum over units with these labels; each of ``ways`` would gate it, and where none can, ``reason`` forbids it."""

    labels: IntArray
    ways: tuple[Zeroing, ...]
    reason: Reason


def zeroing(call: Call) -> Zeroing:
    """What makes the output of ``call`` zero, from what its arguments are."""
    op = call.op.removeprefix("aten.").removesuffix("_")
    if op in _KEEP:
        return call.zeroing("self")
    if op == "bmm":
        return _either(call, "self", "mat2", batched=True)
    if op == "baddbmm":
        return _both(call.zeroing("self", parameter=True), _either(call, "batch1", "batch2", batched=True))
    if op == "mul":
        return _either(call, "self", "other", batched=False)
    if op == "div":
        return call.zeroing("self")
    if op in ("add", "sub"):
        return _both(*(call.zeroing(name, parameter=True) for name in ("self", "other")))
    return frozenset()


def _either(call: Call, left: str, right: str, *, batched: bool) -> Zeroing:
    return call.zeroing(left, parameter=batched) or call.zeroing(right, parameter=batched)


def _both(one: Zeroing, two: Zeroing) -> Zeroing:
    return one | two if one and two else frozenset()


def gated_positions(total: Sum, slots: Sequence[Slot], component: IntArray) -> list[IntArray] | None:
    """Labels of the slices of the parameters that gate ``total``; None where no way has one for every unit."""
    units = np.unique(component[total.labels])
    for way in total.ways:
        found = []
        for name in way:
            labels = [np.arange(s.start, s.start + s.size) for s in slots if s.tensor == name]
            found.append([one for one in labels if np.array_equal(np.unique(component[one]), units)])
        if found and (total.labels != 0).all() and all(len(dims) == 1 for dims in found):
            return [dims[0] for dims in found]
    return None
