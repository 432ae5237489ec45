"""Gates that can only be opened together: a group opens in steps, and groups that are alike keep the same number."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Bundles:
    """Which gates are opened together: one alone, the next ones of a group with a step, or of every group of a family.

    Args:
        priority: [G], in [0, 1].
        floor: bool [G], the gates that are open in any case; they are the first of their groups.
        families: for each the gates of its groups, of one length and one step.
        stepped: the gates of every group that opens several at a time, and how many.

    Attributes:
        of: long [G]: the bundle of every gate, numbered by its first gate.
        priority: [G]: of every gate the mean of its bundle; within a group with a step it never rises.
        floor: bool [G]: the gates of bundles that have an open one.
        alone: whether every gate is a bundle of its own.
    """

    def __init__(
        self,
        priority: Tensor,
        floor: Tensor,
        families: Sequence[Sequence[slice]],
        stepped: Sequence[tuple[slice, int]] = (),
    ) -> None:
        self.of = torch.arange(len(priority), device=priority.device)
        self.priority, self.floor = priority, floor
        steps = {group.start: step for group, step in stepped}
        in_families = {group.start for family in families for group in family}
        tied = [*families, *([group] for group, _ in stepped if group.start not in in_families)]
        self.alone = not tied
        if self.alone:
            return
        self._chain, self._place = self.of.clone(), torch.zeros_like(self.of)  # of gates that open in turn
        falling = []  # the gates of every group with a step, the best first
        for family in tied:
            first, step = family[0].start, steps.get(family[0].start, 1)
            for group in family:
                best = torch.argsort(priority[group] + 2.0 * floor[group], descending=True, stable=True)
                place = torch.arange(len(best), device=best.device) // step
                self.of[group.start + best] = first + place * step
                if step > 1:
                    self._chain[group], self._place[group.start + best] = first, place
                    falling.append(group.start + best)
        self.floor = self.sums(floor.to(priority)) > 0
        self.priority = self.sums(priority) / self.sums(torch.ones_like(priority))
        for best in falling:  # a mean of fewer gates, or of equal ones, may be rounded up
            later = best[~self.floor[best]]
            self.priority[later] = self.priority[later].cummin(0).values

    def sums(self, values: Tensor) -> Tensor:
        """``values`` [G] summed over the bundle of every gate, [G]."""
        return torch.zeros_like(values).index_add_(0, self.of, values)[self.of]

    def behind(self, refused: Tensor) -> Tensor:
        """``refused`` bool [G], and with it what comes later in a group with a step: its gates open in turn."""
        if self.alone:
            return refused
        return refused | (self._place >= self._first(refused))

    def next(self, closed: Tensor) -> Tensor:
        """bool [G]: of the gates that are ``closed``, bool [G], those of bundles whose turn it is."""
        return closed if self.alone else closed & (self._place == self._first(closed))

    def _first(self, chosen: Tensor) -> Tensor:
        """The first place with a gate that is ``chosen``, bool [G], in the group of every gate: [G]."""
        never = len(chosen)
        first = torch.full_like(self.of, never)
        first.scatter_reduce_(0, self._chain, torch.where(chosen, self._place, never), "amin")
        return first[self._chain]

    def highest(self, values: Tensor) -> Tensor:
        """``values`` [G] >= 0, of every gate the highest of its bundle, [G]."""
        return torch.zeros_like(values).scatter_reduce_(0, self.of, values, "amax")[self.of]

    def ends(self, order: Tensor) -> list[int]:
        """Where bundles end in ``order``, gates with those of a bundle side by side: lengths of its whole prefixes."""
        of = self.of[order]
        return [*((of[1:] != of[:-1]).nonzero().flatten() + 1).tolist(), len(order)]
