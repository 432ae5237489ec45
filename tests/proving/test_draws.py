"""Weights and inputs of a draw."""

from __future__ import annotations

import torch
from torch import nn

from lzero.proving.draws import draws


def test_every_number_draws_anew_and_the_same_again_from_the_start() -> None:
    x, numbers = torch.zeros(2, 3), torch.arange(2)
    model = nn.Linear(3, 4).double()
    draw = draws(model, (x, numbers))
    first, one = [*draw(1)], model.weight.clone()
    second, two = [*draw(2)], model.weight.clone()
    assert first[0].shape == (2, 3) and second[0].shape == (16, 3) and first[0].dtype is torch.float64
    assert torch.equal(first[1], numbers) and not torch.equal(one, two) and not torch.equal(first[0], second[0][:2])
    again = [*draws(model, (x, numbers))(1)]
    assert torch.equal(again[0], first[0]) and torch.equal(model.weight, one)
