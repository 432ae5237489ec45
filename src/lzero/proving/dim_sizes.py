"""Sizes of dims as functions of the units that are open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lzero.plan.group import GateGroup
from lzero.tracing.guards import DimSize
from lzero.tracing.label import Classes


@dataclass(frozen=True)
class Linear:
    """``constant`` and, for every open unit of a group, its ``slopes`` entry more; unless it is not ``known``."""

    constant: int
    slopes: Mapping[str, int]
    known: bool = True


class DimSizes:
    """Sizes of dims as functions of the units that are open, by the labels on the dims."""

    def __init__(self, groups: Sequence[GateGroup], classes: Classes) -> None:
        self._classes, self._groups = classes, groups
        self._group = np.full(classes.everywhere.size, -1, dtype=np.int64)  # of the class with that root
        self._unit = np.zeros(classes.everywhere.size, dtype=np.int64)
        start = {(slot.tensor, slot.dim): slot.start for slot in classes.slots}
        for number, group in enumerate(groups):
            member = group.members[0]
            root = classes.everywhere[start[member.tensor, member.dim] + member.index[:, 0].numpy()]
            self._group[root], self._unit[root] = number, np.arange(group.size)

    def of(self, symbol: DimSize) -> Linear:
        """The size of a dim, known where every unit of a group takes the same from it."""
        root = self._classes.everywhere[symbol.labels]
        group = self._group[root]
        slopes, known = {}, True
        for number in np.unique(group[group >= 0]):
            made = self._groups[number]
            each = np.bincount(self._unit[root[group == number]], minlength=made.size)
            slopes[made.name] = int(each[0])
            known &= bool((each == each[0]).all())
        return Linear(int((group < 0).sum()), slopes, known)
