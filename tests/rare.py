"""Forwards that decide by values: what some inputs reach, the example inputs do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from zoo.blocks import Net


@dataclass(frozen=True)
class Case:
    """A model, the example inputs, inputs that take another way, and what lies on that way alone."""

    build: Callable[[], nn.Module]
    example: Tensor
    other: Tensor
    rare: tuple[str, ...]


X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
FAR = 100 * X


def two_layers(between: Callable[[Any, Tensor, Tensor], Tensor], **parts: Any) -> Callable[[], nn.Module]:
    """``a`` [6 -> 8], what ``between`` makes of it, and ``b`` [8 -> 3]."""

    def build() -> nn.Module:
        torch.manual_seed(0)
        made = {name: part() for name, part in parts.items()}
        net = Net(lambda net, x: net.b(between(net, x, net.a(x).relu())), a=nn.Linear(6, 8), b=nn.Linear(8, 3))
        for name, part in made.items():
            setattr(net, name, part)
        return net

    return build


def square() -> nn.Module:
    return nn.Linear(8, 8)


def four() -> nn.Module:
    return nn.ModuleList([nn.Linear(8, 8) for _ in range(4)])


def branch(net: Any, x: Tensor, h: Tensor) -> Tensor:
    if x.abs().max() > 50:
        h = h + net.rare(h)
    return h


def bare(net: Any, x: Tensor, h: Tensor) -> Tensor:
    return h @ net.mix if (x.abs() > 50).any() else h


def by_item(net: Any, x: Tensor, h: Tensor) -> Tensor:
    return net.rare(h) if x.norm().item() > 100 else h


def nested(net: Any, x: Tensor, h: Tensor) -> Tensor:
    if x.abs().max() > 50:
        h = net.first(h)
        if x.abs().max() > 60:
            h = h + net.second(h)
    return h


def early_exit(net: Any, x: Tensor, h: Tensor) -> Tensor:
    for layer, head in zip(net.layers, net.heads, strict=True):
        h = layer(h).relu()
        if h.mean() > 5:
            return head(h)
    return h


def by_count(net: Any, x: Tensor, h: Tensor) -> Tensor:
    rows = (x[:, 0].abs() > 50).nonzero().flatten()
    if len(rows):
        h = h.index_add(0, rows, net.rare(h[rows]))
    return h


def masked(net: Any, x: Tensor, h: Tensor) -> Tensor:
    mask = x[:, 0].abs() > 50
    part = h[mask]
    if part.shape[0] > 0:
        h = h.clone()
        h[mask] = net.rare(part)
    return h


def until_converged(net: Any, x: Tensor, h: Tensor) -> Tensor:
    steps = 0
    while h.abs().max() > 20 and steps < 50:
        h, steps = 0.5 * h + 0.01 * net.rare(h), steps + 1
    return h


def expert_loop(net: Any, x: Tensor, h: Tensor) -> Tensor:
    chosen = (x[:, 0] / 50).round().long().clamp(0, 3)
    out = torch.zeros_like(h)
    for number, expert in enumerate(net.experts):
        (rows,) = torch.where(chosen == number)
        if rows.numel() == 0:
            continue
        out.index_add_(0, rows, expert(h[rows]))
    return out


def by_list(net: Any, x: Tensor, h: Tensor) -> Tensor:
    chosen = (x[:, 0] / 50).round().long().clamp(0, 3)
    return torch.stack([net.experts[number](row) for number, row in zip(chosen.tolist(), h, strict=True)])


def routed(net: Any, x: Tensor, h: Tensor) -> Tensor:
    number = int((x[0, 0].abs() / 50).round().clamp(0, 3))
    return net.experts[number](h)


def through_numpy(net: Any, x: Tensor, h: Tensor) -> Tensor:
    return net.rare(h) if x.detach().numpy().max() > 50 else h


def dropped(net: Any, x: Tensor, h: Tensor) -> Tensor:
    keep = h.detach().norm(dim=1) > 1
    kept = h[keep]
    return net.rare(kept) if kept.shape[0] > 3 else kept


def otherwise(net: Any, x: Tensor, h: Tensor) -> Tensor:
    return h.flip(1) if x.abs().max() > 50 else h


def flagged(net: Any, x: Tensor, h: Tensor) -> Tensor:
    return net.rare(h) if net.judge(x) else h


class Judge(nn.Module):
    """A module that returns a plain bool."""

    def forward(self, x: Tensor) -> bool:
        return bool(x.abs().max() > 50)


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.randn(8, 8))


CASES = {
    "a module in a branch": Case(two_layers(branch, rare=square), X, FAR, ("rare.weight",)),
    "a bare parameter": Case(two_layers(bare, mix=parameter), X, FAR, ("mix",)),
    "a number": Case(two_layers(by_item, rare=square), X, FAR, ("rare.weight",)),
    "a branch in a branch": Case(two_layers(nested, first=square, second=square), X, FAR, ("second.weight",)),
    "an early exit": Case(two_layers(early_exit, layers=four, heads=four), X, FAR, ("heads.0.weight",)),
    "a count of rows": Case(two_layers(by_count, rare=square), X, FAR, ("rare.weight",)),
    "rows by a mask": Case(two_layers(masked, rare=square), X, FAR, ("rare.weight",)),
    "until it converges": Case(two_layers(until_converged, rare=square), X, FAR, ("rare.weight",)),
    "experts in a loop": Case(two_layers(expert_loop, experts=four), X, FAR, ("experts.2.weight",)),
    "experts by a list": Case(two_layers(by_list, experts=four), X, FAR, ("experts.2.weight",)),
    "a router": Case(two_layers(routed, experts=four), X, FAR, ("experts.3.weight",)),
    "NumPy": Case(two_layers(through_numpy, rare=square), X, FAR, ("rare.weight",)),
    "tokens that are dropped": Case(two_layers(dropped, rare=square), X / 10, FAR, ("rare.weight",)),
    "a flag of a module": Case(two_layers(flagged, rare=square, judge=Judge), X, FAR, ("rare.weight",)),
    "the same weights otherwise": Case(two_layers(otherwise), X, FAR, ()),
}
