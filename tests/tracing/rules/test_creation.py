"""Constants of the forward take the units that meet them; their values may not tell units apart."""

from __future__ import annotations

import pytest
import torch
from tracing.rules.follow import OUTSIDE, SAME, UNITS, Case, check_every_op

aten = torch.ops.aten

CASES = {
    "ones": Case(lambda x: x + torch.ones(4, 1, 1), SAME),
    "zeros": Case(lambda x: torch.cat([x, torch.zeros(2, 4, 1, 6)], 2), SAME),
    "full": Case(lambda x: x * torch.full((4, 1, 1), 2.0), SAME),
    "empty": Case(lambda x: torch.empty(2, 4, 6, 6).copy_(x), SAME),
    "new_zeros": Case(lambda x: x + x.new_zeros(4, 1, 1), SAME),
    "new_ones": Case(lambda x: x + x.new_ones(4, 1, 1), SAME),
    "new_full": Case(lambda x: x + x.new_full((4, 1, 1), 2.0), SAME),
    "new_empty": Case(lambda x: x.new_empty(2, 4, 6, 6).copy_(x), SAME),
    "new_empty_strided": Case(lambda x: x.new_empty_strided((2, 4, 6, 6), (144, 36, 6, 1)).copy_(x), SAME),
    "empty_strided": Case(lambda x: torch.empty_strided((2, 4, 6, 6), (144, 36, 6, 1)).copy_(x), SAME),
    "alone": Case(lambda x: x.new_zeros(4), [{}]),
    "of size one": Case(lambda x: x + torch.ones(1, 1, 1), SAME),
    "that ties two": Case(
        lambda x, w: (x + (one := torch.zeros(4, 1, 1)), w + one[:, 0, 0]), [{1: UNITS}, {0: [5, 6, 7, 8]}],
        weights={"w": (4,)}, ties=[{1, 5}, {2, 6}, {3, 7}, {4, 8}],
    ),
    "that counts": Case(lambda x: x + torch.ones(4, 1, 1).cumsum(0), SAME, UNITS),
    "of random numbers": Case(lambda x: x + torch.ones(4, 1, 1).uniform_(), SAME, UNITS),
    "that is written to at one place": Case(lambda x: x + torch.zeros(4, 1, 1).index_fill_(
        0, torch.tensor([1]), 1.0), SAME, UNITS),
    "of other numbers": Case(lambda x: x + torch.arange(4.0)[:, None, None], SAME, UNITS),
    "of integers": Case(lambda x: x + torch.ones(4, 1, 1, dtype=torch.long), SAME, UNITS),
    "from outside": Case(lambda x: x + OUTSIDE, SAME, UNITS),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_creation(name: str) -> None:
    CASES[name].check()


def test_every_op_is_run() -> None:
    check_every_op("creation", CASES.values())
