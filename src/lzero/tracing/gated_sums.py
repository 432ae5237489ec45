"""Sums over units: exact where a closed unit adds zero, because a parameter with a slice for every unit multiplies it.

The experts of a mixture are such units: with weights [expert, in, out] in one batched product, each times a weight that
does not depend on the others (a sigmoid, not a softmax), summed at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lzero.plan.refusal import Reason
from lzero.tracing.label import IntArray, Slot, Zeroing


@dataclass(frozen=True, eq=False)
class Sum:
    """A sum over units with these labels; each of ``ways`` would gate it, and where none can, ``reason`` forbids it."""

    labels: IntArray
    ways: tuple[Zeroing, ...]
    reason: Reason


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
