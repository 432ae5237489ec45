"""Whole numbers beside the layers: corrected where they follow, left where they only look alike, refused in doubt."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from exactness import largest_difference
from torch import Tensor, nn
from torch.nn import functional as F
from traps import IMAGE, Net, X, conv, mlp

from lzero import attach_gates, purge
from lzero.host.run import run
from lzero.plan.plan import Plan
from lzero.reload import load_purged

AssertExact = Callable[..., Plan]

WIDTH, HEADS = 12, 4
TOKENS = torch.randn(2, 5, WIDTH)


class Attention(nn.Module):
    """Heads counted by an attribute, among others of the same value."""

    def __init__(self, heads: int = HEADS) -> None:
        super().__init__()
        self.num_heads, self.num_layers, self.patch_size, self.window_size, self.n_classes = (heads,) * 5
        self.head_dim, self.embed_dim = WIDTH // heads, WIDTH
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).view(*x.shape[:2], 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.out(h) * self.num_layers + self.patch_size


class Shared(nn.Module):
    """One attention and one block, each used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.block = Attention(), nn.Sequential(nn.Linear(WIDTH, 7), nn.ReLU(), nn.Linear(7, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):
            x = x + self.attention(x)
            x = x + self.block(x)
        return x


def squeeze(net: Any, h: Tensor) -> Tensor:
    return h * net.up(net.down(h).relu()).sigmoid()


def excited(channels: int = 8, hidden: int = 8) -> Net:
    """Squeeze and excite, the hidden size that of the channels; its number is asked for by neither."""
    return Net(lambda net, x: net.b(squeeze(net, net.a(x))), {"hidden": hidden, "channels": channels},
               a=nn.Conv2d(3, channels, 1), down=nn.Conv2d(channels, hidden, 1), up=nn.Conv2d(hidden, channels, 1),
               b=nn.Conv2d(channels, 2, 1))  # fmt: skip


def two_sizes(between: Callable[[Any, Tensor], Tensor], **held: int) -> Net:
    """Two hidden layers of equal size, the second used as ``between`` says."""
    return Net(lambda net, x: net.c(between(net, net.b(net.a(x).relu()))), held, a=nn.Linear(5, 12),
               b=nn.Linear(12, 12), c=nn.Linear(12, 2))  # fmt: skip


class Cloned(nn.Module):
    """A layer under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 1)
        self.deep = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.again, self.last = self.deep, nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.again(self.deep(self.first(x)).relu()))


class Masked(nn.Module):
    """A buffer that belongs to the units and is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 6), nn.Linear(6, 2)
        self.register_buffer("mask", torch.tensor([1.0, 2, 3, 4, 5, 6]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).relu() * self.mask)


# What is found, and the numbers that a purged model must still have as they were.
EXACT: dict[str, tuple[Callable[[], nn.Module], Any, set[int], tuple[str, ...]]] = {
    "as many heads as layers": (Attention, TOKENS, {HEADS}, ("num_layers", "patch_size", "n_classes", "embed_dim")),
    "as many heads as features each": (lambda: Attention(3), TOKENS, {3}, ("num_layers", "patch_size", "embed_dim")),
    "used twice": (Shared, TOKENS, {HEADS, 7}, ("attention.num_layers", "attention.embed_dim")),
    "two groups of one size": (excited, IMAGE, {8}, ()),
    "a layer under two names": (Cloned, IMAGE, {6}, ()),
    "a buffer that is not saved": (Masked, X, {6}, ()),
    "an even number of groups": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(8, 8), nn.Conv2d(8, 8, 3, groups=4), nn.ReLU(),
                              nn.Conv2d(8, 2, 1)), IMAGE, {2}, ()
    ),
    "depthwise with a multiple": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 12, 3, groups=4), nn.BatchNorm2d(12),
                              nn.Conv2d(12, 2, 1)), IMAGE, {4}, ()
    ),
    "depthwise, transposed": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 8, 3, groups=4), nn.Conv2d(8, 2, 1)), IMAGE,
        {4}, ()
    ),
    "instance norm without weights": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.InstanceNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1)), IMAGE, {8}, ()
    ),
    "a view by the first of two sizes": (
        lambda: two_sizes(lambda net, h: h.view(-1, net.size).relu(), size=12), X, {12}, ()
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_purged_and_reloaded_numbers(name: str, assert_exact: AssertExact) -> None:
    build, inputs, sizes, kept = EXACT[name]
    model = build()
    plan = assert_exact(model, inputs)
    assert {group.size for group in plan.groups} == sizes, str(plan)
    plain, before = copy.deepcopy(model), [_number(model, path) for path in kept]
    gates = attach_gates(model, plan)
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            gates.log_alpha.copy_(torch.randn(len(gates), generator=generator) * 3 - 2)
            for view in gates.split(gates.log_alpha).values():
                view[torch.randint(len(view), (), generator=generator)] = 1.0
        small = purge(model).model
        again = load_purged(copy.deepcopy(plain), small.state_dict())
        assert largest_difference(run(small, inputs), run(again, inputs))[0] == 0
        assert again.state_dict().keys() == small.state_dict().keys()
        assert [_number(small, path) for path in kept] == [_number(again, path) for path in kept] == before


# A number stands for two things that part: at most one of both may be gated, and the truth decides.
DOUBTFUL: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "a view by a number of two layers": (
        lambda: Net(lambda net, x: net.c(net.a(x).view(-1, net.size)) + net.d(net.b(x).view(-1, net.size)),
                    {"size": 12}, a=nn.Linear(5, 12), b=nn.Linear(5, 12), c=nn.Linear(12, 2), d=nn.Linear(12, 2)), X
    ),
    "a number that is also a scale": (lambda: mlp(lambda net, h: h.view(-1, net.size) / net.size, size=12), X),
    "a number that is also a count of steps": (
        lambda: mlp(lambda net, h: sum(h.view(-1, net.size).roll(0) for _ in range(net.size)), size=12), X
    ),
    "a number that is also the input's": (
        lambda: Net(lambda net, x: net.b(net.a(x.view(-1, net.size)).view(-1, net.size)), {"size": 5},
                    a=nn.Linear(5, 5), b=nn.Linear(5, 2)), X
    ),
    "a list of numbers": (lambda: mlp(lambda net, h: torch.cat(h.split(net.sizes, 1), 1), sizes=[6, 6]), X),
    "a number of a number": (
        lambda: conv(lambda net, h: h.view(-1, net.groups, net.size // net.groups, *h.shape[2:]).flatten(1, 2),
                     size=12, groups=3), IMAGE
    ),
    "heads and as many hidden units": (
        lambda: Net(lambda net, x: net.d(net.c(net.b(net.a(x).view(3, net.heads, 3).relu().flatten(1))) / net.heads),
                    {"heads": 4}, a=nn.Linear(5, 12), b=nn.Linear(12, 5), c=nn.Linear(5, 4), d=nn.Linear(4, 2)), X
    ),
    "an embedding that is renormalised": (
        lambda: nn.Sequential(nn.Embedding(9, 8, max_norm=1.0), nn.Linear(8, 2)), torch.arange(4)
    ),
    "a bag of embeddings": (lambda: nn.Sequential(nn.EmbeddingBag(9, 8), nn.Linear(8, 2)), torch.arange(4)[None]),
    "a channel norm without weights": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(8, 8, affine=False), nn.Conv2d(8, 2, 1)), IMAGE
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DOUBTFUL)
def test_doubtful_numbers_cost_no_truth(name: str, assert_exact: AssertExact) -> None:
    build, inputs = DOUBTFUL[name]
    assert_exact(build(), inputs)


def _number(model: nn.Module, path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(model.get_submodule(module), name)


class Block(nn.Module):
    """A pre-norm block whose stream is as wide as all of its heads together, as in GPT-2."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.split_size = HEADS, WIDTH // HEADS, WIDTH
        self.norm, self.qkv, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        heads = (*x.shape[:2], -1, self.head_dim)
        q, k, v = (part.view(heads).transpose(1, 2) for part in self.qkv(self.norm(x)).split(self.split_size, 2))
        return x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
def test_an_inner_width_follows_the_heads_and_not_a_stream_that_is_as_wide() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), Block(), nn.Linear(WIDTH, 3)).double().eval()
    gates = attach_gates(model, (TOKENS.double(),), granularity="width")
    assert {group.name: group.size for group in gates.plan} == {"0": WIDTH, "1.qkv": HEADS}
    for closed in ([0, 1, 5], [WIDTH + 1], [0, 3, WIDTH, WIDTH + 2]):
        with torch.no_grad():
            gates.log_alpha.fill_(2.0)[closed] = -9.0
        small = purge(model).model
        assert small[1].split_size == WIDTH // HEADS * (HEADS - sum(number >= WIDTH for number in closed))
        torch.testing.assert_close(small(TOKENS.double()), model(TOKENS.double()), rtol=1e-11, atol=1e-11)
