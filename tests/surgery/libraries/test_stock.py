"""A stock model beside the purged one: what files do not carry, and what a forward computes with a configuration."""

import copy

import pytest
import torch
from torch import nn

from lzero.surgery.libraries.stock import Undrawn, difference_from_stock


class Table(nn.Module):
    """Reads a table that no file carries, with its width among what it computes with."""

    def __init__(self, width: int, scale: float = 1.0) -> None:
        super().__init__()
        self.read = nn.Linear(3, width)
        self.register_buffer("table", torch.arange(8.0)[:width] * scale, persistent=False)
        self.register_buffer("count", torch.tensor(0.0))
        self.factor = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.read(x) * self.table * self.factor + self.count


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda stock: None, ""),
        (lambda stock: stock.count.fill_(3.0), ""),
        (lambda stock: stock.table.mul_(2.0), "gives other results"),
        (lambda stock: setattr(stock, "factor", 1.5), "gives other results"),
        (lambda stock: setattr(stock, "table", torch.ones(7)), "does not run: its forward: RuntimeError"),
        (lambda stock: setattr(stock, "table", torch.ones(2, 1, 4)), "gives results of other shapes"),
    ],
)
def test_values_come_from_files_and_the_rest_is_as_it_is_built(change, problem) -> None:
    small, stock = Table(4), Table(4)
    small.count.fill_(5.0)
    before = copy.deepcopy(small.state_dict())
    change(stock)
    found = difference_from_stock(small, stock, (), torch.rand(2, 3))
    assert found.startswith(problem) if problem else not found
    assert all(torch.equal(value, small.state_dict()[name]) for name, value in before.items())


def test_what_is_left_out_of_files_is_what_stock_makes() -> None:
    small, stock = Table(4), Table(4)
    small.count.fill_(5.0)
    small._keys_to_ignore_on_save = ["count"]
    assert difference_from_stock(small, stock, (), torch.rand(2, 3)).startswith("gives other results")


def test_parameters_are_made_without_drawing_them() -> None:
    before = torch.random.get_rng_state()
    with Undrawn():
        made = nn.Sequential(nn.Linear(5, 4), nn.Embedding(3, 2), nn.LayerNorm(4), nn.Conv2d(1, 2, 3))
        assert torch.equal(torch.random.get_rng_state(), before)
        drawn = torch.empty(3).normal_(), torch.randn(3)
    assert all(tensor.std() > 0 for tensor in drawn) and not torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(made[2].weight, torch.ones(4)) and made[0].weight.shape == (4, 5)


def test_nothing_is_taken_for_granted_without_inputs() -> None:
    assert "no example inputs" in difference_from_stock(Table(4), Table(4), (), None)
