"""Random small graphs of layers and norms, whose streams may be gated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st
from random_graphs import BINARY, LAYERS, UNARY, Graph
from streams import HandLayerNorm2d, LayerNorm2d
from torch import Tensor, nn


class Rms2d(nn.Module):
    """A root mean square over the channels of images, with or without a weight."""

    def __init__(self, channels: int, affine: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1)) if affine else None
        self.eps = 1e-2

    def forward(self, x: Tensor) -> Tensor:
        x = x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + self.eps)
        return x if self.weight is None else x * self.weight


class Length2d(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-2)


class Last(nn.Module):
    """A norm of the last dim on the channels of images."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        return made


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "two groups": lambda n: nn.GroupNorm(2 if n % 2 == 0 else 1, n, eps=1e-2),
    "one group": lambda n: nn.GroupNorm(1, n, eps=1e-2),
    "bare groups": lambda n: nn.GroupNorm(2 if n % 2 == 0 else 1, n, eps=1e-2, affine=False),
    "last": lambda n: Last(nn.LayerNorm(n, eps=1e-2)),
    "bare last": lambda n: Last(nn.LayerNorm(n, eps=1e-2, elementwise_affine=False)),
    "last, square": lambda n: Last(nn.RMSNorm(n, eps=1e-2)),
    "permuted": lambda n: LayerNorm2d(n, eps=1e-2),
    "by hand": HandLayerNorm2d,
    "square": lambda n: Rms2d(n, affine=True),
    "bare square": lambda n: Rms2d(n, affine=False),
    "length": lambda n: Length2d(),
    "all of it": lambda n: nn.LayerNorm([n, 4, 4], eps=1e-2),
}


@st.composite
def streams(draw: Any) -> list[tuple[str, int, int, int]]:
    kinds = st.sampled_from([*NORMS, *NORMS, *UNARY, *LAYERS, *LAYERS, *BINARY, *BINARY, *BINARY])
    number = st.integers(0, 30)
    return draw(st.lists(st.tuples(kinds, number, number, st.sampled_from([4, 6, 8])), min_size=2, max_size=9))


class StreamGraph(Graph):
    """A graph that starts from a layer, with norms among its steps."""

    def nodes(self, x: Tensor) -> list[Tensor]:
        return super().nodes(self.layer("stem", lambda: nn.Conv2d(3, 8, 3, padding=1))(x))

    def step(self, key: str, kind: str, a: Tensor, b: Tensor, size: int) -> Tensor:
        if kind in NORMS:
            return self.layer(key, lambda: NORMS[kind](a.shape[1]))(a)
        return super().step(key, kind, a, b, size)
