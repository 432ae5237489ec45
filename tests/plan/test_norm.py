"""A norm as data: which positions of its input belong to which gate."""

import torch

from lzero.plan.norm import Norm


def test_values_stand_at_the_positions_of_their_gates() -> None:
    norm = Norm("norm", -1, (-1,), 0, "mean", torch.tensor([[0, 1], [4, 5]]), 6)
    assert norm.expand(torch.tensor([7, 8]), fill=0).tolist() == [7, 7, 0, 0, 8, 8]
    assert norm.expand(torch.tensor([False, True]), fill=True).tolist() == [False, False, True, True, True, True]


def test_the_same_norm_elsewhere() -> None:
    norm = Norm("a.b.norm", -1, (-1,), 0, "mean", torch.zeros(1, 1, dtype=torch.long), 1, "w", "b", "eps")
    moved = norm.at("norm")
    assert (moved.path, moved.eps, moved.weight, moved.index) == ("norm", "eps", "w", norm.index)
