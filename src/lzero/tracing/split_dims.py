"""Dims that are split or merged: which of the small dims carries the units, decided once the whole forward is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lzero.tracing.label import IntArray


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
    """What is known of all labels so far; all arrays are [labels + 1].

    Attributes:
        root: the smallest label of each label's class.
        frozen: how many freezes came before the first of the class, -1 where it is free.
        made: number of labels that lie on tensors of the model; larger ones are the forward's own.
    """

    root: IntArray
    frozen: IntArray
    made: int


@dataclass(frozen=True)
class _Option:
    """What speaks for one short dim as the carrier.

    Attributes:
        units: how many free units it would carry.
        united: whether each of its indices is one unit of the long dim already.
        reached: whether units of the model's own tensors reach it by another way.
        frozen: how late the first of its labels froze.
    """

    units: int
    united: bool
    reached: bool
    frozen: int


def decide(factors: Sequence[Factor], state: Callable[[], State], settle: Callable[[Factor, int], None]) -> None:
    """Choose the carrier of every factor and ``settle`` it; ``state`` is asked again after each round.

    Where all short dims but one are frozen, that one carries. Else one whose indices are united already does, or one
    that units of the model's own tensors reach by another way (the heads of a value follow those of its query), then
    the one with most units, then the outermost. Where all are frozen, the reason of the last stands for them.
    """
    left = list(factors)
    while left:
        now = state()
        options = [[_option(factor, position, now) for position in range(len(factor.dims))] for factor in left]
        decided = [_choice(found) for found in options]
        certain = {position for position, (_, sure) in enumerate(decided) if sure} or {0}
        for position in sorted(certain):
            settle(left[position], decided[position][0])
        left = [factor for position, factor in enumerate(left) if position not in certain]


def _option(factor: Factor, position: int, now: State) -> _Option:
    labels, rows = factor.dims[position], factor.rows(position)
    free = (labels != 0) & (now.frozen[labels] < 0) & (rows != 0).all(1) & (now.frozen[rows] < 0).all(1)
    own, above = now.root[labels[free]], now.root[rows[free]]
    units = int(np.unique(own).size)
    united = units > 1 and bool((above == above[:, :1]).all()) and np.unique(above).size > 1
    return _Option(units, united, bool((own <= now.made).any()), int(now.frozen[labels].max()))


def _choice(options: Sequence[_Option]) -> tuple[int, bool]:
    """The short dim that carries, and whether no later decision can change that."""
    positions = range(len(options))
    free = [position for position in positions if options[position].units]
    if len(free) < 2:
        return max(free or positions, key=lambda position: options[position].frozen), True
    for best in ([p for p in free if options[p].united], [p for p in free if options[p].reached]):
        if len(best) == 1:
            return best[0], True
        free = best or free
    return max(free, key=lambda position: (options[position].units, -position)), False
