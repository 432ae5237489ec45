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
    """A model, its groups, a weight that the example inputs do not use, and inputs that do."""

    build: Callable[[], nn.Module]
    found: dict[str, int]
    rare: str
    example: Tensor
    other: Tensor


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
    for depth, (layer, head) in enumerate(zip(net.layers, net.heads, strict=True)):
        h = layer(h).relu()
        if x.abs().max() > 400 - 100 * depth:
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
    while x.abs().max() > 20:
        x, h = x / 2, h + net.rare(h)
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
    chosen = net.router(x).argmax(1).tolist()
    return torch.stack([net.experts[number](row) for number, row in zip(chosen, h, strict=True)])


def by_far_list(net: Any, x: Tensor, h: Tensor) -> Tensor:
    chosen = (x[:, 0] / 50).round().long().clamp(0, 3).tolist()
    return torch.stack([net.experts[number](row) for number, row in zip(chosen, h, strict=True)])


def routed(net: Any, x: Tensor, h: Tensor) -> Tensor:
    return net.experts[int(net.router(x).sum(0).argmax())](h)


def depths(net: Any, x: Tensor, h: Tensor) -> Tensor:
    for gate, layer in zip(net.gates, net.layers, strict=True):
        rows = torch.nonzero(gate(x).squeeze(1) > 30).squeeze(1)
        if rows.numel() > 0:
            h = h.index_add(0, rows, layer(h.index_select(0, rows)))
    return h


def both(net: Any, x: Tensor, h: Tensor) -> Tensor:
    large, positive = bool(x.abs().max() > 50), bool((x[:, 0] > 70).any())
    return net.rare(h) if large and positive else h


def empty(net: Any, x: Tensor, h: Tensor) -> Tensor:
    rows = [number for number, row in enumerate(x.numpy()) if row[0] > 50]
    if (x[:, 0] > 50).any():
        h = h + net.rare(h[rows[0]])
    return h


def through_numpy(net: Any, x: Tensor, h: Tensor) -> Tensor:
    return h + net.rare(h) if x.detach().numpy().max() > 50 else h


def dropped(net: Any, x: Tensor, h: Tensor) -> Tensor:
    keep = x.norm(dim=1) > 1
    kept = h[keep]
    return net.rare(kept) if kept.shape[0] > 3 else kept


def otherwise(net: Any, x: Tensor, h: Tensor) -> Tensor:
    return h.flip(1) if x.abs().max() > 50 else h


def otherwise_by_item(net: Any, x: Tensor, h: Tensor) -> Tensor:
    return h.flip(1) if x.norm().item() > 100 else h


def flagged(net: Any, x: Tensor, h: Tensor) -> Tensor:
    return net.rare(h) if net.judge(x) else h


class Judge(nn.Module):
    """A module that returns a plain bool."""

    def forward(self, x: Tensor) -> bool:
        return bool(x.abs().max() > 50)


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.randn(8, 8))


def router() -> nn.Module:
    return nn.Linear(6, 4)


def gates() -> nn.Module:
    return nn.ModuleList([nn.Linear(6, 1) for _ in range(4)])


MANY = 3 * torch.randn(64, 6, generator=torch.Generator().manual_seed(1))
A = {"a": 8}
EXPERTS = A | {"experts.0": 8}
LAYERS = A | {f"layers.{number}": 8 for number in range(4)}

CASES = {
    "a module in a branch": Case(two_layers(branch, rare=square), A, "rare.weight", X, FAR),
    "a bare parameter": Case(two_layers(bare, mix=parameter), {"mix": 8}, "mix", X, FAR),
    "a number": Case(two_layers(by_item, rare=square), A, "rare.weight", X, FAR),
    "a branch in a branch": Case(two_layers(nested, first=square, second=square), A, "second.weight", X, FAR),
    "two decisions at once": Case(two_layers(both, rare=square), A, "rare.weight", X, FAR),
    "an early exit": Case(two_layers(early_exit, layers=four, heads=four), LAYERS, "heads.2.weight", X, FAR),
    "a mixture of depths": Case(two_layers(depths, layers=four, gates=gates), A, "layers.2.weight", X, FAR),
    "a count of rows": Case(two_layers(by_count, rare=square), A, "rare.weight", X, FAR),
    "rows by a mask": Case(two_layers(masked, rare=square), A, "rare.weight", X, FAR),
    "until it converges": Case(two_layers(until_converged, rare=square), A, "rare.weight", X, FAR),
    "experts in a loop": Case(two_layers(expert_loop, experts=four), A, "experts.3.weight", X, FAR),
    "experts by a list": Case(two_layers(by_list, router=router, experts=four), EXPERTS, "experts.0.weight", X, MANY),
    "a router": Case(two_layers(routed, router=router, experts=four), EXPERTS, "experts.1.weight", X, -X),
    "tokens that are dropped": Case(two_layers(dropped, rare=square), A, "rare.weight", X / 10, FAR),
    "a flag of a module": Case(two_layers(flagged, rare=square, judge=Judge), A, "rare.weight", X, FAR),
    "the same weights otherwise": Case(two_layers(otherwise), {"a": 4}, "", X, FAR),
    "the same weights by a number": Case(two_layers(otherwise_by_item), {"a": 4}, "", X, FAR),
    "NumPy": Case(two_layers(through_numpy, rare=square), {}, "rare.weight", X, FAR),
    "a list of far numbers": Case(two_layers(by_far_list, experts=four), {}, "experts.3.weight", X, FAR),
    "a decision that fails otherwise": Case(two_layers(empty, rare=square), {}, "rare.weight", X, FAR),
}
"""What values decide; where nothing is found, no forward of the proof reaches the weight."""
