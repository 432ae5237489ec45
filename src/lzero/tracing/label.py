"""Labels: one integer for every index of every tensor dim, and what became of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lzero.plan.refusal import Reason

IntArray = npt.NDArray[np.int64]


BoolArray = npt.NDArray[np.bool_]


Axes = tuple[IntArray, ...]
"""The labels of a tensor, one array [size] per dim; label 0 means that no gate may remove the index."""


def fixed(shape: tuple[int, ...]) -> Axes:
    """All-zero labels for a tensor of ``shape``: nothing on it can be removed."""
    return tuple(np.zeros(size, dtype=np.int64) for size in shape)


@dataclass(frozen=True)
class Slot:
    """One labelled dim of one tensor: its index ``i`` has the label ``start + i``."""

    tensor: str
    dim: int
    start: int
    size: int


@dataclass(frozen=True, eq=False)
class Classes:
    """What became of every label; all arrays are [labels + 1], entry 0 is the label "fixed".

    Attributes:
        root: the smallest label of the class that the label is in.
        reason: position in ``reasons`` of why its class is frozen, -1 where it is free.
        consumer: whether a product contracts over it.
        slot: position in ``slots`` of the tensor dim that it lies on.
        everywhere: like ``root``, for the labels of the forward's own too, and 0 where the class is frozen.
    """

    root: IntArray
    reason: IntArray
    consumer: BoolArray
    slot: IntArray
    slots: tuple[Slot, ...]
    reasons: tuple[Reason, ...]
    everywhere: IntArray


Zeroing = frozenset[str]
"""Parameters that, all zero at a unit, make the tensor zero there; empty where none do."""
