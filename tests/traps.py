"""Small models built to be misread: a forward of any kind between two layers, with what it reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Net(nn.Module):
    """Named parts, a forward of (self, x), and attributes that the forward reads."""

    def __init__(self, forward: Callable[..., Any], held: dict[str, Any] | None = None, **parts: nn.Module) -> None:
        super().__init__()
        self._run = forward
        for name, part in parts.items():
            self.add_module(name, part)
        for name, value in (held or {}).items():
            setattr(self, name, value)

    def forward(self, *args: Tensor) -> Any:
        return self._run(self, *args)


X = torch.randn(3, 5)
IMAGE = torch.randn(2, 3, 6, 6)
SEQUENCE = torch.randn(2, 6, 8)


def mlp(between: Callable[..., Tensor], made: int = 12, read: int = 12, **held: Any) -> Net:
    """5 -> made units ``a``, something in between, read -> 2 units ``b``."""
    return Net(lambda net, x: net.b(between(net, net.a(x))), held, a=nn.Linear(5, made), b=nn.Linear(read, 2))


def conv(between: Callable[..., Tensor], made: int = 12, read: int = 12, **held: Any) -> Net:
    return Net(lambda net, x: net.b(between(net, net.a(x))), held, a=nn.Conv2d(3, made, 1), b=nn.Conv2d(read, 2, 1))
