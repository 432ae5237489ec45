"""Numbers that follow a cut, wherever a module keeps them: found by what the forward does, exact, reloaded."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from exactness import largest_difference
from torch import Tensor, nn
from torch.nn import functional as F
from traps import X, mlp

import lzero
from lzero.plan.plan import Plan

AssertExact = Callable[..., Plan]
TOKENS, WIDE_TOKENS = torch.randn(2, 5, 16), torch.randn(3, 4, 16)


class Merger(nn.Module):
    """Four patches become one, at a width that happens to be that of the hidden units."""

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.hidden_size = 16
        self.fc1, self.fc2 = nn.Linear(16, hidden), nn.Linear(hidden, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.fc1(x.view(-1, self.hidden_size)).relu())


class Attention(nn.Module):
    """Queries, keys and values from one projection or three; sizes from attributes or from a configuration."""

    def __init__(self, way: str, config: Any, heads: int = 4, kv: int = 4) -> None:
        super().__init__()
        self.way, self.config = way, config
        self.inner, self.num_heads, self.kv_heads, self.head_dim = heads * 4, heads, kv, 4
        self.shape = (-1, heads, 4)
        if way in ("fused", "fused by config"):
            self.qkv = nn.Linear(16, (heads + 2 * kv) * 4)
        else:
            self.q, self.k, self.v = (nn.Linear(16, n * 4) for n in (heads, kv, kv))
        self.o = nn.Linear(heads * 4, 16)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        if self.way in ("fused", "fused by config"):
            held = self if self.way == "fused" else self.config
            n, m = held.num_heads * self.head_dim, held.kv_heads * self.head_dim
            made = self.qkv(x)
            q, k, v = made[..., :n], made[..., n : n + m], made[..., n + m :]
        else:
            q, k, v = self.q(x), self.k(x), self.v(x)
        if self.way == "by config":
            q, k, v = (y.view(b, t, self.config.num_heads, 4) for y in (q, k, v))
        elif self.way == "by a tuple":
            q, k, v = (y.view(b, *self.shape) for y in (q, k, v))
        else:
            q, k, v = (y.view(b, t, -1, self.head_dim) for y in (q, k, v))
        k, v = (y.repeat_interleave(q.shape[2] // y.shape[2], 2) for y in (k, v))
        y = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)).transpose(1, 2)
        return self.o(
            y.reshape(b, t, -1) if self.way in ("fused by config", "by config") else y.reshape(b, t, self.inner)
        )


class Layers(nn.Module):
    """Two attentions that hold one configuration."""

    def __init__(self, way: str, kv: int = 4) -> None:
        super().__init__()
        self.config = SimpleNamespace(num_heads=4, kv_heads=kv, hidden_size=16, num_layers=2)
        self.layers = nn.ModuleList(Attention(way, self.config, kv=kv) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + layer(x)
        return x.view(*x.shape[:2], self.config.hidden_size)


class Stage(nn.Module):
    """Halves at a number two modules above the weight."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.expand_chs = width
        self.exp = nn.ModuleDict({"conv": nn.Conv2d(8, width, 1), "bn": nn.BatchNorm2d(width)})
        self.block, self.last = nn.Conv2d(width // 2, 12, 3, padding=1), nn.Conv2d(width // 2 + 12, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.exp["bn"](self.exp["conv"](x)).split(self.expand_chs // 2, dim=1)
        return self.last(torch.cat([a, self.block(b).relu()], 1)).mean((2, 3))


class Gated(nn.Module):
    """Parts of unequal sizes, from a tuple or a list."""

    def __init__(self, kind: type, hidden: int = 12, conv: int = 4) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(8, 2 * hidden), nn.Linear(hidden, 8)
        self.conv = nn.Conv1d(conv, conv, 3, padding=1, groups=conv)
        self.split_indices = kind((hidden, hidden - conv, conv))

    def forward(self, x: Tensor) -> Tensor:
        g, i, c = torch.split(self.fc1(x), self.split_indices, dim=-1)
        c = self.conv(c.transpose(1, 2)).transpose(1, 2)
        return x + self.fc2(g.relu() * torch.cat((i, c), -1))


class Biased(nn.Module):
    """A table of positions for every head, its shape written down."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(16, 12) for _ in range(3))
        self.o, self.num_heads, self.bias_shape = nn.Linear(12, 16), 3, (1, 3, 5, 5)
        self.table = nn.Parameter(torch.randn(25, 3))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (f(x).unflatten(-1, (self.num_heads, 4)).transpose(1, 2) for f in (self.q, self.k, self.v))
        bias = self.table.T.reshape(self.bias_shape)
        return self.o(F.scaled_dot_product_attention(q, k, v, bias).transpose(1, 2).flatten(2))


IMAGE, OTHER_IMAGE = torch.randn(2, 8, 6, 6), torch.randn(3, 8, 4, 4)
SEQUENCE, OTHER_SEQUENCE = torch.randn(2, 5, 8), torch.randn(3, 7, 8)
# What is built, inputs, fresh inputs of other sizes, and the sizes of the groups.
FOLLOW: dict[str, tuple[Callable[[], nn.Module], Tensor, Tensor, list[int]]] = {
    "a width that happens to be equal": (
        lambda: nn.Sequential(nn.Linear(4, 4), Merger()), torch.randn(8, 4), torch.randn(12, 4), [4, 16]
    ),
    "the width of all heads, which is that of the stream": (
        lambda: Layers("apart"), TOKENS, WIDE_TOKENS, [4, 4]
    ),
    "heads from one configuration of all layers": (lambda: Layers("by config"), TOKENS, WIDE_TOKENS, [4, 4]),
    "a shape in a tuple": (lambda: Layers("by a tuple"), TOKENS, WIDE_TOKENS, [4, 4]),
    "slices at numbers": (lambda: Layers("fused"), TOKENS, WIDE_TOKENS, [4, 4]),
    "slices at numbers of a configuration": (lambda: Layers("fused by config"), TOKENS, WIDE_TOKENS, [4, 4]),
    "slices of unequal sizes": (lambda: Layers("fused by config", 2), TOKENS, WIDE_TOKENS, [2, 2]),
    "halves of a number of the grandparent": (Stage, IMAGE, OTHER_IMAGE, [8, 12]),
    "a tuple of sizes": (lambda: nn.Sequential(Gated(tuple)), SEQUENCE, OTHER_SEQUENCE, [8, 4]),
    "a list of sizes": (lambda: nn.Sequential(Gated(list)), SEQUENCE, OTHER_SEQUENCE, [8, 4]),
    "a layer of PyTorch that unflattens": (
        lambda: nn.Sequential(nn.Linear(8, 12), nn.Unflatten(1, (12, 1, 1)), nn.ConvTranspose2d(12, 6, 4), nn.ReLU(),
                              nn.Conv2d(6, 1, 1)), torch.randn(2, 8), torch.randn(5, 8), [12, 6]
    ),
    "the shape of a bias": (Biased, TOKENS, torch.randn(3, 5, 16), [3]),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLLOW)
@pytest.mark.filterwarnings("ignore:.*no budget was given")
def test_purged_and_reloaded_on_fresh_inputs(name: str, assert_exact: AssertExact) -> None:
    build, inputs, fresh, sizes = FOLLOW[name]
    model = build()
    plan = assert_exact(model, inputs)
    assert sorted(group.size for group in plan) == sorted(sizes), str(plan)
    held = copy.deepcopy(getattr(model, "config", None))
    config = getattr(model, "config", None)
    gates = lzero.attach_gates(model.double(), plan)
    for seed in range(3):
        with torch.no_grad():
            gates.log_alpha.copy_(torch.randn(len(gates), generator=torch.Generator().manual_seed(seed)) * 3)
        result = lzero.purge(model, settle=False)
        with torch.no_grad(), gates.fixed(gates.evaluate(gates.open_mask())):
            expected = model.eval()(fresh.double())
        with torch.no_grad():
            found = result.model.eval()(fresh.double())
            again = lzero.load_purged(build().double(), result.model.state_dict()).eval()(fresh.double())
        assert largest_difference([found], [expected])[0] < 1e-9
        assert torch.equal(found, again)
    assert getattr(model, "config", None) is config and config == held  # nobody has written into the user's own


REFUSED: dict[str, tuple[Callable[[], nn.Module], Any, str]] = {
    "the size of a constant": (
        lambda: mlp(lambda net, h: h.view(len(h), net.probe.shape[0]), probe=torch.zeros(12)), X, "hard-coded size"
    ),
    "heads by the width of the stream": (
        lambda: nn.Sequential(nn.Linear(16, 16), nn.LayerNorm(16), ByWidth()), TOKENS,
        "a size that the forward takes from another tensor would not follow these units (test_discover_numbers.py",
    ),
    "a head's width by division": (
        lambda: nn.Sequential(nn.Linear(16, 16), nn.LayerNorm(16), ByWidth(divide=True)), TOKENS,
        "a size that the forward computes from self.num_heads would not follow these units",
    ),
    "a number for two dims that part": (
        lambda: nn.Sequential(nn.LayerNorm(16), TwoRoles()), TOKENS,
        "the forward takes self.wide for the size of these units and of others",
    ),
}  # fmt: skip


class ByWidth(nn.Module):
    def __init__(self, *, divide: bool = False) -> None:
        super().__init__()
        self.num_heads, self.divide = 4, divide
        self.qkv, self.o = nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        b, t, c = x.shape
        width = c // self.num_heads if self.divide else 4
        q, k, v = (y.view(b, t, self.num_heads, width).transpose(1, 2) for y in self.qkv(x).chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return self.o(y.reshape(b, t, -1) if self.divide else y.reshape(b, t, c))


class TwoRoles(nn.Module):
    """``wide`` is the length of the stream, which stays, and that of the hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.up, self.down = 16, nn.Linear(16, 16), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(-1, self.wide) + self.down(self.up(x).reshape(-1, self.wide).relu())


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_follow_is_refused_with_its_line(name: str, assert_exact: AssertExact) -> None:
    build, inputs, reason = REFUSED[name]
    plan = assert_exact(build(), inputs)
    assert not plan.groups
    assert any(reason in refusal.reason for refusal in plan.refusals), str(plan)


def configured(between: Callable[[Any, Tensor], Tensor], **entries: Any) -> nn.Module:
    return mlp(between, config=SimpleNamespace(**entries))


def grown(net: Any, h: Tensor) -> Tensor:
    """A list of sizes that every forward makes longer."""
    net.sizes.append(net.sizes[0])
    return h.view(-1, net.sizes[-1])


def changed(net: Any, h: Tensor) -> Tensor:
    """A number of the configuration that the forward sets itself, from the input."""
    net.config.width = h.shape[1]
    return h.view(-1, net.config.width)


# Numbers that follow and are read for something else too: refused, or exact all the same; never wrong.
DOUBTFUL: dict[str, Callable[[], nn.Module]] = {
    "a configured width that is also a scale": lambda: configured(
        lambda net, h: h.view(-1, net.config.width) / net.config.width, width=12
    ),
    "a configured width that is also a number of steps": lambda: configured(
        lambda net, h: sum(h.view(-1, net.config.width) for _ in range(net.config.width)), width=12
    ),
    "a configured width that the forward branches on": lambda: configured(
        lambda net, h: h.view(-1, net.config.width) * (2 if net.config.width > 6 else 3), width=12
    ),
    "a shape of which a part is a scale": lambda: mlp(
        lambda net, h: h.view(net.shape) / max(net.shape), shape=(-1, 12)
    ),
    "a configured width in a text": lambda: configured(
        lambda net, h: h.view(-1, net.config.width) * len(str(net.config.width)), width=12
    ),
    "a list that grows": lambda: mlp(grown, sizes=[12]),
    "a configuration that the forward writes": lambda: configured(changed, width=12),
    "a slice by a number and one by its literal": lambda: mlp(
        lambda net, h: torch.cat([h[:, : net.half], h[:, 6:]], 1), half=6
    ),
    "slices that overlap": lambda: mlp(
        lambda net, h: torch.cat([h[:, : net.some], h[:, net.some - 2 : net.some + 4]], 1), read=14, some=8
    ),
    "a split at numbers that are swapped": lambda: mlp(
        lambda net, h: torch.cat(h.split(net.parts, 1)[::-1], 1) + h, parts=[4, 8]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DOUBTFUL)
def test_doubtful_numbers_cost_no_truth(name: str, assert_exact: AssertExact) -> None:
    plan = assert_exact(DOUBTFUL[name](), X)
    if "scale" in name or "branches" in name or "steps" in name or "text" in name:
        assert not plan.groups
