"""Positions of gates from plain data: distinct, inside of the dim, as many rows as gates."""

from __future__ import annotations

import pytest
import torch

from lzero.errors import StructureError
from lzero.plan.positions import read_positions


def test_good_ones_are_given_back() -> None:
    index = torch.tensor([[0, 1], [4, 5]])
    assert read_positions("index", index, 2, 6) is index


@pytest.mark.parametrize(
    "index",
    [
        None,
        [[0]],
        torch.tensor([[0.0], [1.0]]),
        torch.tensor([0, 1]),
        torch.tensor([[0]]),
        torch.zeros(2, 0, dtype=torch.long),
        torch.zeros(2, 1, dtype=torch.long, device="meta"),
    ],
)
def test_other_things_are_refused(index: object) -> None:
    with pytest.raises(StructureError, match=r"here: expected int64 positions \[2, at least 1\], found"):
        read_positions("here", index, 2, 6)


@pytest.mark.parametrize("index", [[[0], [0]], [[-1], [0]], [[0], [6]]])
def test_positions_are_distinct_and_inside(index: list[list[int]]) -> None:
    with pytest.raises(StructureError, match="here: expected distinct positions from 0 to 5"):
        read_positions("here", torch.tensor(index), 2, 6)
