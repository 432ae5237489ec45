"""Sums, maxima and spreading over consecutive stretches of a flat vector, without a loop or a host sync."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Segments:
    """Consecutive stretches of a vector of all gates, as many gates each as ``sizes`` says.

    Attributes:
        offsets: long, [n + 1], where each begins.
        lengths: long, [n].
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.lengths = torch.tensor(list(sizes), dtype=torch.long)
        self.offsets = torch.cat([self.lengths.new_zeros(1), self.lengths.cumsum(0)])
        self._total = int(self.offsets[-1])

    def to(self, device: torch.device) -> None:
        """Move to ``device``, in place."""
        self.lengths, self.offsets = self.lengths.to(device), self.offsets.to(device)

    def sums(self, values: Tensor) -> Tensor:
        """``values`` [G], of a floating type, summed over each stretch: [n]."""
        return torch.segment_reduce(values, "sum", offsets=self.offsets, unsafe=True)

    def expand(self, each: Tensor) -> Tensor:
        """``each`` [n, ...] repeated for every gate of its stretch: [G, ...]."""
        return each.repeat_interleave(self.lengths, 0, output_size=self._total)

    def first_largest(self, score: Tensor) -> Tensor:
        """The first largest entry of every stretch of ``score`` [G], as a mask [G]."""
        largest = score == self.expand(torch.segment_reduce(score, "max", offsets=self.offsets, unsafe=True))
        rank = largest.cumsum(0)
        before = (rank - largest.long())[self.offsets[:-1]]
        return largest & (rank - self.expand(before) == 1)
