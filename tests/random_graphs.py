"""Random small graphs of random layers, as programs that hypothesis can draw and shrink."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

# Each step: (name, arguments). A node is a tensor [2, channels, 4, 4]; steps read earlier nodes by number.
UNARY = ["relu", "tanh", "softmax", "mean", "roll", "shuffle", "flip", "halve", "gate", "norm", "group norm", "scale",
         "pool", "sort", "first", "squeeze", "tokens", "attention"]  # fmt: skip
LAYERS = ["conv", "wide", "depthwise", "grouped", "batch norm", "linear", "transposed", "instance norm"]
BINARY = ["add", "multiply", "concatenate", "stack"]


@st.composite
def programs(draw: Any) -> list[tuple[str, int, int, int]]:
    kinds = st.sampled_from(UNARY + LAYERS * 3 + BINARY * 3)
    number = st.integers(0, 30)
    return draw(st.lists(st.tuples(kinds, number, number, st.sampled_from([2, 4, 6, 8])), min_size=2, max_size=9))


class Graph(nn.Module):
    """Runs a program; layers are made at the first, dry run, so that their sizes fit."""

    def __init__(self, program: list[tuple[str, int, int, int]]) -> None:
        super().__init__()
        self.program, self.layers = program, nn.ModuleDict()
        self._dry, self._fits = True, dict[str, bool]()
        last = self.nodes(torch.zeros(2, 3, 4, 4))[-1]
        self.head = nn.Conv2d(last.shape[1], 3, 1)
        self._dry = False

    def layer(self, key: str, make: Callable[[], nn.Module]) -> nn.Module:
        if self._dry:
            self.layers[key] = make()
        return self.layers[key]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.nodes(x)[-1])

    def nodes(self, x: Tensor) -> list[Tensor]:
        nodes = [x]
        for number, (kind, one, two, size) in enumerate(self.program):
            a, b = nodes[-1 - one % min(2, len(nodes))], nodes[two % len(nodes)]
            nodes.append(self.step(str(number), kind, a, b, size))
        return nodes

    def step(self, key: str, kind: str, a: Tensor, b: Tensor, size: int) -> Tensor:
        channels = a.shape[1]
        even = self._fits.setdefault(f"{key} even", channels % 2 == 0)
        if kind in LAYERS:
            return self.layer(key, lambda: _layer(kind, channels, size))(a)
        if kind in BINARY:
            fits = self._fits.setdefault(key, a.shape == b.shape)
            if kind == "add" and fits:
                return a + b
            if kind == "multiply" and fits:
                return a * b.sigmoid()
            if kind == "stack" and fits:
                return torch.stack([a, b], 2).flatten(1, 2)
            return torch.cat([a, b], 1)
        if kind == "gate" and even:
            return F.glu(a, 1)
        if kind == "halve" and even:
            return a.chunk(2, 1)[0]
        if kind == "shuffle" and even:
            return F.channel_shuffle(a, 2) if size > 4 else a.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)
        if kind == "group norm" and even:
            return F.group_norm(a, 2)
        if kind == "attention" and even:
            tokens = a.flatten(2).transpose(1, 2)
            q, k, v = (
                self.layer(key, lambda: nn.Linear(channels, 3 * size))(tokens)
                .unflatten(-1, (3, 2 if self._dry else -1, size // 2))
                .permute(2, 0, 3, 1, 4)
            )
            h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            return self.layer(key + "o", lambda: nn.Linear(size, channels))(h).transpose(1, 2).reshape(a.shape)
        if kind == "squeeze":
            return (
                a * self.layer(key, lambda: nn.Linear(channels, channels))(a.mean((2, 3)))[:, :, None, None].sigmoid()
            )
        if kind == "tokens":
            return self.layer(key, lambda: nn.Linear(channels, channels))(a.movedim(1, -1)).movedim(-1, 1)
        unary: dict[str, Callable[[], Tensor]] = {
            "tanh": lambda: a.tanh(), "softmax": lambda: a.softmax(1), "mean": lambda: a - a.mean(1, keepdim=True),
            "roll": lambda: a.roll(1, 1), "flip": lambda: a.flip(1), "norm": lambda: F.normalize(a, dim=1),
            "scale": lambda: a / channels, "sort": lambda: a.sort(1).values, "first": lambda: a * a[:, :1],
            "pool": lambda: F.max_pool2d(a, 3, 1, 1),
        }  # fmt: skip
        return unary.get(kind, lambda: F.relu(a))()


def _layer(kind: str, channels: int, size: int) -> nn.Module:
    return {
        "conv": lambda: nn.Conv2d(channels, size, 3, padding=1),
        "wide": lambda: nn.Conv2d(channels, 2 * size, 1, bias=False),
        "depthwise": lambda: nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
        "grouped": lambda: nn.Conv2d(channels, 2 * size, 1, groups=2 if channels % 2 == 0 else 1),
        "batch norm": lambda: nn.BatchNorm2d(channels),
        "instance norm": lambda: nn.InstanceNorm2d(channels, affine=True),
        "linear": lambda: nn.Sequential(nn.Conv2d(channels, size, 1), nn.ReLU()),
        "transposed": lambda: nn.ConvTranspose2d(channels, size, 1),
    }[kind]()
