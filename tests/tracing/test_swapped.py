"""A forward that swaps modules: what lies below the place freezes, the rest stays free."""

from __future__ import annotations

import torch
from nets import reasons, sizes
from torch import Tensor, nn

import lzero


class Swapping(nn.Module):
    """Puts another layer, that shares its tensors, in the place of one."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        other = nn.Linear(4, 6)
        other.weight, other.bias = self.a.weight, self.a.bias
        self.a = other
        return self.c(self.b(self.a(x).relu()).relu())  # type: ignore[no-any-return]


def test_what_is_swapped_is_left_and_the_rest_is_found() -> None:
    plan = lzero.discover(Swapping(), torch.randn(3, 4))
    assert sizes(plan) == {"b": 5} and "puts another module in the place of a" in reasons(plan)
