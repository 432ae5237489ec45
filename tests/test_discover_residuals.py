"""A shortcut into the first channels alone (RexNet), and a residual and a dense stream (DPN): on fresh inputs."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from nets import reasons, sizes
from torch import Tensor, nn

import lzero
from lzero.host.run import run


class Partial(nn.Module):
    """More channels out than in; those that came in are added to the first of them."""

    def __init__(self, made: int, out: int, add: Callable[..., Tensor]) -> None:
        super().__init__()
        self.in_channels, self.add = made, add
        self.up, self.norm, self.down = nn.Conv2d(made, 12, 1), nn.BatchNorm2d(12), nn.Conv2d(12, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.add(self.down(self.norm(self.up(x)).relu()), x, self.in_channels)


def in_place(y: Tensor, x: Tensor, n: int) -> Tensor:
    y[:, :n] += x
    return y


ADDED: dict[str, Callable[..., Tensor]] = {
    "parts": lambda y, x, n: torch.cat([y[:, :n] + x, y[:, n:]], 1),
    "the size of the input": lambda y, x, n: torch.cat([y[:, : x.shape[1]] + x, y[:, x.shape[1] :]], 1),
    "narrow": lambda y, x, n: torch.cat([y.narrow(1, 0, n) + x, y.narrow(1, n, y.shape[1] - n)], 1),
    "in place": in_place,
}


@pytest.mark.parametrize("way", ADDED)
def test_a_shortcut_into_the_first_channels(way: str) -> None:
    torch.manual_seed(0)
    blocks = [Partial(8, 12, ADDED[way]), Partial(12, 18, ADDED[way])]
    model = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(18, 3)
    )
    plan = lzero.discover(model, torch.randn(2, 3, 6, 6))
    assert sizes(plan) == {"0": 8, "2.up": 12, "2.down": 4, "3.up": 12, "3.down": 6}, reasons(plan)
    for seed in range(4):
        gated = copy.deepcopy(model).double()
        gates, generator = lzero.attach_gates(gated, plan), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            gates.log_alpha.copy_(torch.randn(len(gates), generator=generator) * 3)
            for view in gates.split(gates.log_alpha).values():
                view[torch.randint(len(view), (), generator=generator)] = 1.0
        new = torch.randn(5, 3, 9, 9, generator=generator, dtype=torch.float64)
        small = lzero.purge(gated, settle=False).model
        torch.testing.assert_close(run(small, new), run(gated, new), rtol=1e-9, atol=1e-9)


def test_a_shortcut_into_channels_by_number_is_left() -> None:
    block = Partial(8, 12, lambda y, x, n: torch.cat([y[:, :8] + x, y[:, 8:]], 1))
    plan = lzero.discover(nn.Sequential(nn.Conv2d(3, 8, 1), block, nn.Conv2d(12, 2, 1)), torch.randn(2, 3, 6, 6))
    assert sizes(plan) == {"1.up": 12} and reasons(plan)
