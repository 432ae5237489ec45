"""Which gates a network can be shipped with: none without its owner, and no group without a gate."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lzero.gates.segments import Segments


class Masks:
    """Deployable sets of gates, as bool masks [G].

    Args:
        sizes: gates of every group, in order.
        owners: long, [G]: the gate that owns each, -1 where none does; None where there are no owned gates.
    """

    def __init__(self, sizes: Sequence[int], owners: Tensor | None) -> None:
        self._groups, self.owners = Segments(sizes), owners

    def to(self, device: torch.device) -> None:
        """Move to ``device``, in place."""
        self._groups.to(device)
        self.owners = None if self.owners is None else self.owners.to(device)

    def alive(self, open_: Tensor) -> Tensor:
        """``open_`` [G] without the gates whose owner is closed."""
        return open_ if self.owners is None else open_ & ((self.owners < 0) | open_[self.owners])

    def with_floor(self, open_: Tensor, score: Tensor) -> Tensor:
        """``open_`` [G] with the gate of the highest ``score`` [G] opened in every group that has none alive.

        Scores lie in [0, 1]: a gate whose owner is open comes before all whose owner is closed.
        """
        if self.owners is None:
            return self._floored(open_, score, open_)
        owned = self.owners >= 0  # owners first: what they own depends on them
        open_ = torch.where(owned, open_, self._floored(open_, score, open_ & ~owned))
        waking = ~owned | open_[self.owners]
        return self._floored(open_, score + 2.0 * waking, open_ & waking)

    def _floored(self, open_: Tensor, score: Tensor, alive: Tensor) -> Tensor:
        empty = self._groups.sums(alive.double()) == 0
        return open_ | (self._groups.first_largest(score) & self._groups.expand(empty))
