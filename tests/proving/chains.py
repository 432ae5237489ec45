"""Two hidden layers with anything between them, and the groups of their units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lzero.host.copies import private_copy
from lzero.host.inputs import ExampleInputs
from lzero.plan.group import GateGroup, Member
from lzero.proving.proof import Proof
from lzero.proving.random_model import RandomModel


class Model(nn.Module):
    """Two hidden layers with something between them."""

    def __init__(
        self, first: Callable[[Tensor], Any] = torch.relu, second: Callable[[Tensor], Any] = torch.relu
    ) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 8), nn.Linear(8, 10), nn.Linear(10, 3)
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Any:
        return self.c(self.second(self.b(self.first(self.a(x)))))


def hidden(maker: str, reader: str, size: int) -> GateGroup:
    index = torch.arange(size)[:, None]
    members = (
        Member(f"{maker}.weight", 0, index, "producer"),
        Member(f"{maker}.bias", 0, index, "coupled"),
        Member(f"{reader}.weight", 1, index, "consumer"),
    )
    return GateGroup(maker, size, "unit", members)


A, B = hidden("a", "b", 8), hidden("b", "c", 10)
X = torch.randn(5, 4)


def proof_of(model: nn.Module, example_inputs: object, seed: int = 0) -> Proof:
    """A proof on a private copy of the whole ``model``."""
    return Proof(RandomModel(private_copy(model), ExampleInputs.of(example_inputs), seed=seed))
