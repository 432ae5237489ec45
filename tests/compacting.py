"""A small network with gates of which some are closed for good, twice the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lzero
from lzero.compact import gates_that_stay

X = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
Y = torch.tensor([0, 1, 2, 3, 4, 0])
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "Adam": lambda p: torch.optim.Adam(p, 1e-2),
    "AdamW, amsgrad": lambda p: torch.optim.AdamW(p, 1e-2, amsgrad=True),
    "SGD": lambda p: torch.optim.SGD(p, 1e-2, weight_decay=1e-3),
    "SGD, momentum": lambda p: torch.optim.SGD(p, 1e-2, momentum=0.9, nesterov=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, 1e-3, momentum=0.5, centered=True),
    "Adagrad": lambda p: torch.optim.Adagrad(p, 1e-2, initial_accumulator_value=0.1),
    "NAdam": lambda p: torch.optim.NAdam(p, 1e-2),
    "Adamax": lambda p: torch.optim.Adamax(p, 1e-2),
    "ASGD": lambda p: torch.optim.ASGD(p, 1e-2),
}


class Net(nn.Module):
    """Convolutions with BatchNorm, and Linears behind a flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(3, 9, 3, padding=1, bias=False), nn.BatchNorm2d(9)
        self.c2, self.b2 = nn.Conv2d(9, 7, 3, padding=1), nn.BatchNorm2d(7)
        self.f1, self.f2 = nn.Linear(7 * 16, 10), nn.Linear(10, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.b1(self.c1(x)))
        x = F.max_pool2d(torch.relu(self.b2(self.c2(x))), 2)
        return self.f2(torch.relu(self.f1(x.flatten(1))))  # type: ignore[no-any-return]


def gated(granularity: str = "unit", seed: int = 0, **options: Any) -> tuple[Net, lzero.Gates]:
    """The network in float64 with gates of which about a third are closed for good; the same for the same seed."""
    torch.manual_seed(seed)
    model = Net().double()
    gates = lzero.attach_gates(model, X[:2], granularity=granularity, **options)
    drawn = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        gates.log_alpha.copy_(torch.where(torch.rand(len(gates), generator=drawn) < 0.35, -9.0, 2.0))
        for where in gates.slices.values():
            gates.log_alpha[where.start] = 2.0
    return model, gates


def step(model: nn.Module, gates: lzero.Gates, optimizer: torch.optim.Optimizer, z: Tensor) -> Tensor:
    """One step of the weights with these gates; the loss."""
    optimizer.zero_grad()
    with gates.fixed(z):
        loss = F.cross_entropy(model(X), Y)
        loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.detach()


def shared_training(rank: int) -> dict[str, torch.Tensor]:
    """Two processes, each with half of the examples; between two parts of it units leave."""
    model, gates = gated()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    lzero.Solver(gates, 0.3, total_steps=200)
    ddp = nn.parallel.DistributedDataParallel(model)
    stay = gates_that_stay(gates)
    drawn = torch.rand(6, len(gates), dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * stay
    mine = slice(3 * rank, 3 * rank + 3)
    with pytest.raises(lzero.StructureError, match="wrap the model anew"):
        lzero.compact(ddp, optimizer)
    with pytest.raises(lzero.StructureError, match="several processes"):
        lzero.Compaction(model, optimizer)
    for number, z in enumerate(drawn):
        if number == 3:
            lzero.compact(ddp.module, optimizer)
            ddp = nn.parallel.DistributedDataParallel(ddp.module)
            drawn = drawn[:, stay]
        optimizer.zero_grad()
        with gates.fixed(z if len(z) == len(gates) else z[stay]):
            F.cross_entropy(ddp(X[mine]), Y[mine]).backward()
        optimizer.step()
    return {name: tensor.clone() for name, tensor in model.state_dict().items() if "num_batches" not in name}
