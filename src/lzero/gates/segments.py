"""Sums, maxima and spreading over consecutive stretches of a flat vector, without a loop or a host sync."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

MANY_GATES = 1 << 14  # gates beyond which memory sets the pace, and no longer the number of operations
_FEW_STRETCHES = 16  # stretches that are summed one by one
_TABLE_GATES, _TABLE_ENTRIES = 1 << 12, 1 << 16  # of a table that is read faster than stretches are looked up


class Segments:
    """Consecutive stretches of a vector of all gates, as many gates each as ``sizes`` says.

    Attributes:
        offsets: long, [n + 1], where each begins.
        lengths: long, [n].
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.lengths = torch.tensor(list(sizes), dtype=torch.long)
        self.offsets = torch.cat([self.lengths.new_zeros(1), self.lengths.cumsum(0)])
        self._sizes = [int(size) for size in sizes]
        self._total = sum(self._sizes)
        self._one_by_one = self._total > MANY_GATES and len(self._sizes) <= _FEW_STRETCHES
        small = self._total <= _TABLE_GATES and self._total * len(self._sizes) <= _TABLE_ENTRIES
        table = torch.eye(len(self._sizes), dtype=torch.float64).repeat_interleave(self.lengths, 0) if small else None
        self._table = table  # [G, n], 1 where a gate is of a stretch
        self._columns = None if table is None else table.t()

    def to(self, device: torch.device) -> None:
        """Move to ``device``, in place."""
        self.lengths, self.offsets = self.lengths.to(device), self.offsets.to(device)
        if self._table is not None:
            self._table = self._table.to(device)
            self._columns = self._table.t()

    def sums(self, values: Tensor) -> Tensor:
        """``values`` [G], of a floating type, summed over each stretch: float64 [n]."""
        if self._columns is not None:
            return torch.mv(self._columns, values.double())
        if self._one_by_one:
            return torch.stack([piece.sum() for piece in torch.split(values, self._sizes)]).double()
        return torch.segment_reduce(values.double(), "sum", offsets=self.offsets, unsafe=True)

    def expand(self, each: Tensor) -> Tensor:
        """``each`` [n, ...] repeated for every gate of its stretch: [G, ...]."""
        if self._table is not None and each.dtype is torch.float64:
            return torch.matmul(self._table, each)
        if self._one_by_one:
            rows = zip(torch.split(each, 1), self._sizes, strict=True)
            return torch.cat([row.expand(size, *row.shape[1:]) for row, size in rows])
        return each.repeat_interleave(self.lengths, 0, output_size=self._total)

    def first_largest(self, score: Tensor) -> Tensor:
        """The first largest entry of every stretch of ``score`` [G], as a mask [G]."""
        largest = score == self.expand(torch.segment_reduce(score, "max", offsets=self.offsets, unsafe=True))
        rank = largest.cumsum(0)
        before = (rank - largest.long())[self.offsets[:-1]]
        return largest & (rank - self.expand(before) == 1)
