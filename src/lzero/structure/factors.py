"""Dims that are split or merged: which of the small dims carries the units, decided once the whole forward is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Factor:
    """One long dim that the forward reads as several short ones, or makes of them.

    Removing an index of a short dim removes a slice of the long one, and only one of the short dims can lose indices:
    the literal sizes of the others are in the forward. That one carries the units: a head of an attention (of heads
    and features), a channel of a channel shuffle (of groups and channels).

    Attributes:
        grid: labels of the long dim, [n_1, ..., n_m].
        dims: labels of the short dims, [n_1] to [n_m].
    """

    grid: IntArray
    dims: tuple[IntArray, ...]

    def rows(self, position: int) -> IntArray:
        """Labels of the long dim under each index of short dim ``position``, [n, rest]."""
        return np.moveaxis(self.grid, position, 0).reshape(self.dims[position].size, -1)


@dataclass(frozen=True, eq=False)
class State:
    """What is known of all labels so far; both arrays are [labels + 1].

    Attributes:
        root: the smallest label of each label's class.
        frozen: whether the class is frozen.
        made: number of labels that lie on tensors of the model; larger ones are the forward's own.
    """

    root: IntArray
    frozen: BoolArray
    made: int


Decision = tuple[Factor, int | None]
"""A factor and the short dim that carries its units, None where every one is frozen."""


def decide(factors: Sequence[Factor], state: Callable[[], State], settle: Callable[[Factor, int | None], None]) -> None:
    """Choose the carrier of every factor and ``settle`` it; ``state`` is asked again after each round.

    Where all short dims but one are frozen, that one carries. Else a dim that units of the model's own tensors reach by
    another way does (the heads of a value follow those of its query), then the one with most units, then the outermost.
    """
    left = list(factors)
    while left:
        now = state()
        options = [[_standing(factor, position, now) for position in range(len(factor.dims))] for factor in left]
        decided = [_choice(standing) for standing in options]
        certain = [position for position, (_, sure) in enumerate(decided) if sure] or [0]
        for position in certain:
            settle(left[position], decided[position][0])
        left = [factor for position, factor in enumerate(left) if position not in set(certain)]


def _standing(factor: Factor, position: int, now: State) -> tuple[bool, int]:
    """Whether short dim ``position`` is tied to tensors of the model by another way, and how many free units it has."""
    labels, rows = factor.dims[position], factor.rows(position)
    free = (labels != 0) & ~now.frozen[labels] & (rows != 0).all(1) & ~now.frozen[rows].any(1)
    own = now.root[labels[free]]
    return bool((own <= now.made).any()), int(np.unique(own).size)


def _choice(standing: Sequence[tuple[bool, int]]) -> tuple[int | None, bool]:
    """The short dim that carries, and whether no later decision can change that."""
    free = [position for position, (_, units) in enumerate(standing) if units]
    if len(free) < 2:
        return (free[0] if free else None), True
    reached = [position for position in free if standing[position][0]]
    best = max(reached or free, key=lambda position: (standing[position][1], -position))
    return best, len(reached) == 1
