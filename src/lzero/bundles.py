"""Gates that can only be opened together, since groups that are alike keep the same number of units."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Bundles:
    """Which gates are opened together: one alone, or the j-th best of every group of a family.

    Args:
        priority: [G], in [0, 1].
        floor: bool [G], the gates that are open in any case; they are the first of their groups.
        families: for each the gates of its groups, of one length.

    Attributes:
        of: long [G]: the bundle of every gate, numbered by its first gate.
        priority: [G]: of every gate the mean of its bundle.
        floor: bool [G]: the gates of bundles that have an open one.
    """

    def __init__(self, priority: Tensor, floor: Tensor, families: Sequence[Sequence[slice]]) -> None:
        self.of = torch.arange(len(priority), device=priority.device)
        self.priority, self.floor = priority, floor
        if not families:
            return
        for family in families:
            first = family[0].start
            for group in family:
                best = torch.argsort(priority[group] + 2.0 * floor[group], descending=True, stable=True)
                self.of[group.start + best] = torch.arange(first, first + len(best), device=best.device)
        self.floor = self.sums(floor.to(priority)) > 0
        self.priority = self.sums(priority) / self.sums(torch.ones_like(priority))

    def sums(self, values: Tensor) -> Tensor:
        """``values`` [G] summed over the bundle of every gate, [G]."""
        return torch.zeros_like(values).index_add_(0, self.of, values)[self.of]

    def highest(self, values: Tensor) -> Tensor:
        """``values`` [G] >= 0, of every gate the highest of its bundle, [G]."""
        return torch.zeros_like(values).scatter_reduce_(0, self.of, values, "amax")[self.of]

    def ends(self, order: Tensor) -> list[int]:
        """Where bundles end in ``order``, gates with those of a bundle side by side: lengths of its whole prefixes."""
        of = self.of[order]
        return [*((of[1:] != of[:-1]).nonzero().flatten() + 1).tolist(), len(order)]
