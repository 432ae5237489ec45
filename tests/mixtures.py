"""Small mixtures of experts, written by hand in the ways in which people write them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Expert(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.softplus(self.up(x)))


class Listed(nn.Module):
    """Experts in a list, and a Linear that chooses ``top`` of them for each token; 0 weighs all of them."""

    def __init__(
        self, width: int = 6, hidden: int = 5, experts: int = 5, top: int = 2, renormalised: bool = True
    ) -> None:
        super().__init__()
        self.num_experts, self.top_k, self.renormalised = experts, top, renormalised
        self.gate = nn.Linear(width, experts, bias=False)
        self.experts = nn.ModuleList(Expert(width, hidden) for _ in range(experts))

    def forward(self, x: Tensor) -> Tensor:  # [..., width]
        flat = x.reshape(-1, x.shape[-1])
        weights = self.gate(flat).softmax(-1)
        if not self.top_k:
            made = torch.stack([expert(flat) for expert in self.experts], 1)  # [n, E, width]
            return (weights[..., None] * made).sum(1).view_as(x)
        weights, chosen = weights.topk(self.top_k, -1)
        if self.renormalised:
            weights = weights / weights.sum(-1, keepdim=True)
        out = torch.zeros_like(flat)
        for number in range(self.num_experts):
            token, place = (chosen == number).nonzero(as_tuple=True)
            out = out.index_add(0, token, self.experts[number](flat[token]) * weights[token, place, None])
        return out.view_as(x)


class TopKRouter(nn.Module):
    """A router that is no Linear, and calls the product itself."""

    def __init__(self, width: int, experts: int, top: int) -> None:
        super().__init__()
        self.top_k, self.n_routed_experts = top, experts
        self.weight, self.bias = nn.Parameter(torch.randn(experts, width)), nn.Parameter(torch.randn(experts))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value, chosen = F.linear(x, self.weight, self.bias).topk(self.top_k, -1)
        return value.softmax(-1), chosen


class Stacked(nn.Module):
    """Experts stacked in parameters of three dims, and a router of its own class in front."""

    def __init__(self, width: int = 6, hidden: int = 5, experts: int = 5, top: int = 2) -> None:
        super().__init__()
        self.router, self.num_experts = TopKRouter(width, experts, top), experts
        self.up = nn.Parameter(torch.randn(experts, width, hidden))
        self.down = nn.Parameter(torch.randn(experts, hidden, width))
        self.shift = nn.Parameter(torch.randn(experts, width))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        weights, chosen = self.router(flat)
        shares = torch.zeros(len(flat), self.num_experts, dtype=x.dtype).scatter(1, chosen, weights)  # [n, E]
        made = torch.einsum("neh,ehw->new", F.softplus(torch.einsum("nw,ewh->neh", flat, self.up)), self.down)
        return torch.einsum("ne,new->nw", shares, made + self.shift).view_as(x)


class Dense(nn.Module):
    """Every expert on every token, weighed by a softmax over a bare parameter's product."""

    def __init__(self, width: int = 6, hidden: int = 5, experts: int = 4) -> None:
        super().__init__()
        self.choice = nn.Parameter(torch.randn(width, experts))
        self.up, self.down = (nn.Parameter(torch.randn(experts, *s)) for s in ((width, hidden), (hidden, width)))

    def forward(self, x: Tensor) -> Tensor:
        shares = (x @ self.choice).softmax(-1)  # [..., E]
        made = torch.einsum("...eh,ehw->...ew", F.softplus(torch.einsum("...w,ewh->...eh", x, self.up)), self.down)
        return (shares[..., None] * made).sum(-2)


class Network(nn.Module):
    """Mixtures in a residual stream, between two Linears."""

    def __init__(self, *layers: nn.Module, width: int = 6) -> None:
        super().__init__()
        self.first, self.layers, self.last = nn.Linear(4, width), nn.ModuleList(layers), nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:  # [..., 4]
        x = self.first(x)
        for layer in self.layers:
            x = x + layer(torch.tanh(x))
        return self.last(x)


BUILD: dict[str, Any] = {
    "listed, top 2": lambda: Network(Listed(), Listed()),
    "listed, top 1": lambda: Network(Listed(top=1, renormalised=False)),
    "listed, top 3 as they are": lambda: Network(Listed(top=3, renormalised=False)),
    "listed, all of them": lambda: Network(Listed(top=0)),
    "stacked, top 2": lambda: Network(Stacked(), Stacked(experts=4)),
    "stacked, top 1": lambda: Network(Stacked(top=1)),
    "dense": lambda: Network(Dense(), Dense()),
    "both": lambda: Network(Listed(), Stacked(), Dense()),
}
