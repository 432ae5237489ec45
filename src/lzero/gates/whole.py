"""What gates and their model were before some of their units left for good: what a budget goes on to be a share of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lzero.plan.plan import Plan


@dataclass(frozen=True, eq=False)
class Whole:
    """The model as gates were attached to it.

    Attributes:
        plan: of that model.
        numbers: long [G]: which gates of that plan are left.
        shapes: of every tensor of its state dict without gates.
        size: bytes of all of them.
    """

    plan: Plan
    numbers: Tensor
    shapes: Mapping[str, tuple[int, ...]]
    size: int

    def places_in(self, before: Whole | None) -> Tensor:
        """Where the gates that are left stood among those that were ``before``, long [G]."""
        return self.numbers if before is None else torch.searchsorted(before.numbers, self.numbers)

    def masks(self, open_: Tensor) -> dict[str, Tensor]:
        """``open_`` [G] as group name -> bool mask of the group as it was."""
        everything = torch.zeros(self.plan.size, dtype=torch.bool)
        everything[self.numbers[open_.cpu()]] = True
        return {name: everything[where] for name, where in self.plan.slices.items()}
