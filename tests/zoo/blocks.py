"""What the models of the zoo share: an entry of the zoo, and small building blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Entry:
    """A model of the zoo.

    Attributes:
        family: the heading that it stands under.
        build: makes it, with random weights.
        inputs: what its forward takes.
        reach: the share of parameters that gates must reach at least.
        routed: whether values decide which layers run, so that a purged model may use a layer more or less often.
        granularity: what is asked for.
    """

    family: str
    build: Callable[[], nn.Module]
    inputs: Callable[[], Any]
    reach: float
    routed: bool = False
    granularity: str = "unit"


class Net(nn.Module):
    """Named parts and a forward of (self, inputs)."""

    def __init__(self, forward: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self._run = forward
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, *args: Tensor, **kwargs: Tensor) -> Any:
        return self._run(self, *args, **kwargs)


class Residual(nn.Module):
    """``after(body(x) + shortcut(x))``."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None, after: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.shortcut, self.after = body, shortcut or nn.Identity(), after or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.body(x) + self.shortcut(x))


class Branches(nn.Module):
    """The outputs of several branches, side by side."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class Scaled(nn.Module):
    """Squeeze and excite: every channel times a number that all channels together give."""

    def __init__(self, channels: int, hidden: int, act: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Sequential(nn.Conv2d(channels, hidden, 1), act(), nn.Conv2d(hidden, channels, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.pool(x))


def conv(made: int, out: int, kernel: int = 3, stride: int = 1, groups: int = 1, act: Any = nn.ReLU) -> nn.Sequential:
    """Convolution, BatchNorm and, unless ``act`` is None, an activation."""
    layers = [nn.Conv2d(made, out, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(out)]
    return nn.Sequential(*layers, *([act()] if act else []))


def head(channels: int, classes: int = 5) -> nn.Sequential:
    """Global average pooling and a classifier."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def image(size: int = 16, channels: int = 3) -> Callable[[], Tensor]:
    """Two random images."""
    return lambda: torch.randn(2, channels, size, size)
