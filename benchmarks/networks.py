"""The networks that are measured, small and plain, each with a batch of random data."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from lzero_lab.models import MLP, LeNet5, ResNet

BYTES, CONTEXT = 256, 64  # of the language model


class Attention(nn.Module):
    """Self-attention over [N, T, width]."""

    def __init__(self, width, heads, causal):
        super().__init__()
        self.heads, self.head_width, self.causal = heads, width // heads, causal
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        q, k, v = (m(x).unflatten(-1, (-1, self.head_width)).transpose(1, 2) for m in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A transformer block with its norms before attention and MLP."""

    def __init__(self, width, heads, causal):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads, causal)
        self.norm2, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class ViT(nn.Module):
    """A vision transformer: images [N, 3, 32, 32] in 64 patches -> [N, 10]."""

    def __init__(self, width=128, heads=4, depth=4, patch=4):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.positions = nn.Parameter(torch.randn(1, (32 // patch) ** 2, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads, causal=False) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


class GPT(nn.Module):
    """A language model over bytes: [N, T] -> [N, T, 256]."""

    def __init__(self, width=128, heads=4, depth=4):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(BYTES, width), nn.Embedding(CONTEXT, width)
        self.blocks = nn.ModuleList(Block(width, heads, causal=True) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, BYTES, bias=False)

    def forward(self, x):
        x = self.tokens(x) + self.positions.weight
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class Chain(nn.Module):
    """Many small Linears in a row: as many groups as it has layers but one."""

    def __init__(self, depth=121, width=4):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
        self.layers.append(nn.Linear(width, 10))

    def forward(self, x):
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return x


@dataclass(frozen=True)
class Network:
    """One network of the benchmark.

    Attributes:
        build: makes it, with random weights.
        batch: examples of a training step.
        shape: of one example; of a language model its tokens.
        granularities: the kinds of gates that apply to it.
        most: the ratio to the dense step that is aimed at, by granularity.
    """

    build: Callable[[], nn.Module]
    batch: int
    shape: tuple[int, ...]
    granularities: tuple[str, ...]
    most: dict[str, float]

    def data(self, device="cpu", batch=None):
        """Random inputs and classes."""
        n = batch or self.batch
        if self.shape == (CONTEXT,):
            x = torch.randint(0, BYTES, (n, CONTEXT))
            return x.to(device), x.roll(-1, 1).to(device)
        return torch.randn(n, *self.shape).to(device), torch.randint(0, 10, (n,)).to(device)


def loss_of(model, x, y):
    """Cross-entropy, of every position where there are several."""
    return F.cross_entropy(model(x).flatten(0, -2), y.flatten())


ALL, PLAIN = ("unit", "input", "weight"), ("unit", "weight")
NETWORKS = {
    "MLP": Network(MLP, 128, (1, 28, 28), ALL, {"unit": 1.25, "input": 1.25, "weight": 2.5}),
    "LeNet-5": Network(LeNet5, 128, (1, 28, 28), ALL, {"unit": 1.03, "input": 1.03, "weight": 1.2}),
    "ResNet-20": Network(lambda: ResNet(3, (16, 32, 64), blocks=3), 32, (3, 32, 32), PLAIN, {"unit": 1.05}),
    "ViT": Network(ViT, 32, (3, 32, 32), PLAIN, {"unit": 1.05}),
    "GPT": Network(GPT, 32, (CONTEXT,), PLAIN, {"unit": 1.05}),
}
