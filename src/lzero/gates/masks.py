"""Which gates a network can be shipped with: none without its owner, no group without one, and widths in steps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from lzero.gates.segments import Segments


class Masks:
    """Deployable sets of gates, as bool masks [G].

    Args:
        sizes: gates of every group, in order.
        owners: long, [G]: the gate that owns each, -1 where none does; None where there are no owned gates.
        steps: by group, how many of its gates are shipped at a time, if not one: a multiple of that, or all. Such a
            group has no owned gates.

    Attributes:
        stepped: the gates of every group that opens several at a time, with its step.
    """

    def __init__(self, sizes: Sequence[int], owners: Tensor | None, steps: Sequence[int] = ()) -> None:
        self._groups, self.owners = Segments(sizes), owners
        ends = list(accumulate(sizes))
        self.stepped = tuple(
            (slice(end - size, end), step)
            for end, size, step in zip(ends, sizes, steps or [1] * len(ends), strict=True)
            if step > 1
        )
        self._steps = torch.tensor(steps, dtype=torch.float64) if self.stepped else None

    def to(self, device: torch.device) -> None:
        """Move to ``device``, in place."""
        self._groups.to(device)
        self.owners = None if self.owners is None else self.owners.to(device)
        self._steps = None if self._steps is None else self._steps.to(device)

    def alive(self, open_: Tensor) -> Tensor:
        """``open_`` [G] without the gates whose owner is closed."""
        return open_ if self.owners is None else open_ & ((self.owners < 0) | open_[self.owners])

    def with_floor(self, open_: Tensor, score: Tensor, *, in_steps: bool = False) -> Tensor:
        """``open_`` [G] with the gate of the highest ``score`` [G] opened in every group that has none alive.

        With ``in_steps`` the next highest too, in a group that opens several at a time, up to its next width.

        Scores lie in [0, 1]: a gate whose owner is open comes before all whose owner is closed.
        """
        steps = self._steps if in_steps else None
        if self.owners is None:
            return self._widened(self._floored(open_, score, open_), score, steps)
        owned = self.owners >= 0  # owners first: what they own depends on them
        open_ = torch.where(owned, open_, self._floored(open_, score, open_ & ~owned))
        open_ = self._widened(open_, score, steps)
        waking = ~owned | open_[self.owners]
        return self._floored(open_, score + 2.0 * waking, open_ & waking)

    def _floored(self, open_: Tensor, score: Tensor, alive: Tensor) -> Tensor:
        empty = self._groups.sums(alive.double()) == 0
        return open_ | (self._groups.first_largest(score) & self._groups.expand(empty))

    def _widened(self, open_: Tensor, score: Tensor, steps: Tensor | None) -> Tensor:
        if steps is None:
            return open_
        group = self._groups.expand(torch.arange(len(steps), dtype=torch.float64, device=open_.device)).long()
        order = torch.argsort(score + 2.0 * open_, descending=True, stable=True)
        order = order[torch.argsort(group[order], stable=True)]  # by group, what is open first
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order), device=order.device) - self._groups.offsets[group]
        width = (self._groups.sums(open_.double()) / steps).ceil() * steps  # beyond its size a group has no gate
        return rank < width[group]
