"""The two networks of axes.py, by their shape: what purging leaves of one can be built anew, plain."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from lzero.surgery.left_out import LeftOut

BYTES, CLASSES, PATCH, IMAGE = 256, 10, 4, 32


@dataclass(frozen=True)
class Shape:
    """How large a network is; in the place of a branch of no heads or no hidden units is what purging puts there.

    Attributes:
        width: of the residual stream.
        heads: of attention, a number a block.
        hidden: units of the MLP, a number a block.
        head_width: of every head.
    """

    width: int
    heads: tuple[int, ...]
    hidden: tuple[int, ...]
    head_width: int

    @classmethod
    def regular(cls, width: int, blocks: int, head_width: int) -> "Shape":
        """All blocks alike: heads as wide as the stream together, and an MLP four times as wide."""
        return cls(width, (max(1, round(width / head_width)),) * blocks, (4 * width,) * blocks, head_width)


class Attention(nn.Module):
    """Self-attention over [N, T, width]."""

    def __init__(self, width: int, heads: int, head_width: int, causal: bool) -> None:
        super().__init__()
        self.head_width, self.causal = head_width, causal
        self.q, self.k, self.v = (nn.Linear(width, heads * head_width) for _ in range(3))
        self.out = nn.Linear(heads * head_width, width)

    def forward(self, x):
        q, k, v = (m(x).unflatten(-1, (-1, self.head_width)).transpose(1, 2) for m in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(mixed.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Two layers with a GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        return self.down(F.gelu(self.up(x)))


class Block(nn.Module):
    """x + attention(norm(x)), and then x + mlp(norm(x))."""

    def __init__(self, width: int, heads: int, hidden: int, head_width: int, causal: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, head_width, causal) if heads else LeftOut(zero=True, returns=0)
        self.mlp = MLP(width, hidden) if hidden else LeftOut(zero=True, returns=0)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def blocks(shape: Shape, causal: bool) -> nn.ModuleList:
    """The blocks of a network of this shape."""
    sizes = zip(shape.heads, shape.hidden, strict=True)
    return nn.ModuleList(Block(shape.width, heads, hidden, shape.head_width, causal) for heads, hidden in sizes)


class GPT(nn.Module):
    """A language model over bytes: [N, T] -> [N, T, 256]."""

    def __init__(self, shape: Shape, context: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(BYTES, shape.width), nn.Embedding(context, shape.width)
        self.blocks = blocks(shape, causal=True)
        self.norm, self.head = nn.LayerNorm(shape.width), nn.Linear(shape.width, BYTES)
        for table in (self.tokens, self.positions):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, x):
        x = self.tokens(x) + self.positions.weight
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class ViT(nn.Module):
    """A vision transformer: images [N, 3, 32, 32] in 64 patches -> [N, 10]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, shape.width, PATCH, stride=PATCH)
        self.positions = nn.Parameter(torch.randn(1, (IMAGE // PATCH) ** 2, shape.width) * 0.02)
        self.blocks = blocks(shape, causal=False)
        self.norm, self.head = nn.LayerNorm(shape.width), nn.Linear(shape.width, CLASSES)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


def build(task: str, shape: Shape, context: int) -> nn.Module:
    """The network of a task, ``"gpt"`` or ``"vit"``, with random weights."""
    return GPT(shape, context) if task == "gpt" else ViT(shape)


def inputs(task: str, count: int, context: int) -> torch.Tensor:
    """Random ones of the network of a task."""
    return torch.randint(BYTES, (count, context)) if task == "gpt" else torch.randn(count, 3, IMAGE, IMAGE)


def parameters(model: nn.Module) -> int:
    """How many a network has."""
    return sum(parameter.numel() for parameter in model.parameters())


def shape_of(model: nn.Module, head_width: int) -> Shape:
    """The shape of a network, also of one that was purged."""
    heads = tuple(_rows(block, "attention", "q") // head_width for block in model.blocks)
    hidden = tuple(_rows(block, "mlp", "up") for block in model.blocks)
    return Shape(model.norm.weight.numel(), heads, hidden, head_width)


def _rows(block: nn.Module, branch: str, layer: str) -> int:
    """Units that the first layer of a branch makes; 0 where the branch is gone."""
    found = getattr(getattr(block, branch, None), layer, None)
    return 0 if found is None else found.out_features
