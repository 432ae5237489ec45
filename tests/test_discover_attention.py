"""Heads of attention as decoders write it: shared keys, fused projections, slopes; every claim on fresh inputs."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from nets import reasons, sizes
from torch import Tensor, nn
from torch.nn import functional as F

import lzero
from lzero.host.run import run
from lzero.plan.plan import Plan

X = torch.randn(2, 5, 16)


def exact(model: nn.Module, inputs: Tensor = X) -> Plan:
    """The plan of ``model``, after comparing gated with purged models in float64 on batches of other sizes."""
    torch.manual_seed(0)
    plan = lzero.discover(model, inputs)
    for seed in range(4) if plan.groups else ():
        gated = copy.deepcopy(model).double()
        gates = lzero.attach_gates(gated, plan)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            gates.log_alpha.copy_(torch.randn(len(gates), generator=generator) * 3)
            for view in gates.split(gates.log_alpha).values():
                view[torch.randint(len(view), (), generator=generator)] = 1.0
        small = lzero.purge(gated, settle=False).model
        new = torch.randn(3, 7, *inputs.shape[2:], generator=generator, dtype=torch.float64)
        torch.testing.assert_close(run(small, new), run(gated, new), rtol=1e-9, atol=1e-9)
    return plan


def attend(o: nn.Linear, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of [batch, heads, time, width], and its projection."""
    y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
    return o(y.reshape(*y.shape[:2], -1))


class Latent(nn.Module):
    """Multi-head latent attention: one rotated key for all heads, put beside a key of each head's own."""

    def __init__(self, key: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.q, self.kv_a = nn.Linear(16, 4 * 12), nn.Linear(16, 8 + 4)
        self.kv_b, self.o, self.key = nn.Linear(8, 4 * (8 + 12)), nn.Linear(4 * 12, 16), key

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q = self.q(x).view(b, t, -1, 12).transpose(1, 2)
        latent, rotated = self.kv_a(x).split([8, 4], -1)
        own, v = self.kv_b(latent).view(b, t, -1, 20).transpose(1, 2).split([8, 12], -1)
        return attend(self.o, q, self.key(own, rotated[:, None]), v)


def copied(make: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    def key(own: Tensor, rotated: Tensor) -> Tensor:
        k = make(own)
        k[..., :8].copy_(own)
        k[..., 8:] = rotated
        return k

    return key


LATENT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "expand": lambda own, rotated: torch.cat([own, rotated.expand(-1, own.shape[1], -1, -1)], -1),
    "expand to the shape": lambda own, rotated: torch.cat([own, rotated.expand(*own.shape[:-1], -1)], -1),
    "expand as": lambda own, rotated: torch.cat([own, rotated.expand_as(own[..., :4])], -1),
    "broadcast to": lambda own, rotated: torch.cat([own, rotated.broadcast_to(own[..., :4].shape)], -1),
    "repeat": lambda own, rotated: torch.cat([own, rotated.repeat(1, own.shape[1], 1, 1)], -1),
    "empty": copied(lambda own: own.new_empty(*own.shape[:-1], 12)),
    "zeros": copied(lambda own: torch.zeros(*own.shape[:-1], 12, dtype=own.dtype)),
    "like": copied(lambda own: torch.empty_like(F.pad(own, (0, 4)))),
}

LITERAL: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "expand": lambda own, rotated: torch.cat([own, rotated.expand(-1, 4, -1, -1)], -1),
    "empty": copied(lambda own: own.new_empty(own.shape[0], 4, own.shape[2], 12)),
    "the mean of all heads": lambda own, rotated: torch.cat(
        [own, own.mean(1, True)[..., :4].expand(-1, own.shape[1], -1, -1)], -1
    ),
    "the first head": lambda own, rotated: torch.cat([own, own[:, :1, :, :4].expand(-1, own.shape[1], -1, -1)], -1),
    "heads in the number": lambda own, rotated: torch.cat(
        [own, rotated.expand(-1, own.shape[1], -1, -1) / own.shape[1]], -1
    ),
}


@pytest.mark.parametrize("way", LATENT)
def test_heads_that_share_a_key_are_found(way: str) -> None:
    assert sizes(exact(Latent(LATENT[way]))) == {"q": 4}


@pytest.mark.parametrize("way", LITERAL)
def test_heads_that_are_counted_or_mixed_are_not(way: str) -> None:
    plan = exact(Latent(LITERAL[way]))
    assert "q" not in sizes(plan) and reasons(plan)


class Fused(nn.Module):
    """Queries, keys and values of one projection, cut at numbers that the module keeps."""

    def __init__(self, cut: Callable[..., tuple[Tensor, ...]], heads: int = 4, kv_heads: int = 2) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads, self.head_dim, self.cut = heads, kv_heads, 8, cut
        self.qkv, self.o = nn.Linear(16, (heads + 2 * kv_heads) * 8), nn.Linear(heads * 8, 16)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.cut(self.qkv(x), self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim)
        q, k, v = (part.unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for part in parts)
        k, v = (y.repeat_interleave(q.shape[1] // y.shape[1], 1) for y in (k, v))
        return attend(self.o, q, k, v)


CUTS: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "slices": lambda y, n, m: (y[..., :n], y[..., n : n + m], y[..., n + m :]),
    "slices from behind": lambda y, n, m: (y[..., : -2 * m], y[..., -2 * m : -m], y[..., -m:]),
    "narrow": lambda y, n, m: (y.narrow(-1, 0, n), y.narrow(-1, n, m), y.narrow(-1, n + m, m)),
    "split": lambda y, n, m: y.split([n, m, m], -1),
    "keys and values together": lambda y, n, m: (y[..., :n], *y[..., n:].chunk(2, -1)),
}

LITERAL_CUTS: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "slices": lambda y, n, m: (y[..., :32], y[..., 32:48], y[..., 48:]),
    "split": lambda y, n, m: y.split([32, 16, 16], -1),
    "one of them": lambda y, n, m: (y[..., :32], y[..., n : n + m], y[..., n + m :]),
    "overlapping": lambda y, n, m: (y[..., :n], y[..., m : m + m], y[..., n + m :]),
}


@pytest.mark.parametrize("shared", [4, 2, 1])
@pytest.mark.parametrize("way", CUTS)
def test_heads_of_a_fused_projection(way: str, shared: int) -> None:
    plan = exact(Fused(CUTS[way], kv_heads=shared))
    if shared > 1 and (way, shared) != ("keys and values together", 2):  # whose two parts happen to be equal
        (group,) = plan.groups
        assert group.size == shared and plan.reachable > 0.7 * plan.parameters


@pytest.mark.parametrize("way", LITERAL_CUTS)
def test_heads_cut_at_numbers_written_down_are_left(way: str) -> None:
    plan = exact(Fused(LITERAL_CUTS[way]))
    assert not plan.groups and reasons(plan)


class Picked(nn.Module):
    """Heads and one key and one value in one dim, taken from its end."""

    def __init__(self, pick: Callable[..., tuple[Tensor, ...]], heads: int = 4) -> None:
        super().__init__()
        self.num_heads, self.qkv, self.o, self.pick = (
            heads,
            nn.Linear(16, (heads + 2) * 8),
            nn.Linear(heads * 8, 16),
            pick,
        )

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (y.transpose(1, 2) for y in self.pick(self.qkv(x).unflatten(-1, (self.num_heads + 2, 8)), len(x)))
        k, v = (y.broadcast_to(q.shape) for y in (k, v))
        return attend(self.o, q, k, v)


PICKS: dict[str, tuple[Callable[..., tuple[Tensor, ...]], bool]] = {
    "by lists": (lambda y, n: (y[:, :, :-2], y[:, :, [-2]], y[:, :, [-1]]), True),
    "with an ellipsis": (lambda y, n: (y[..., :-2, :], y[..., [-2], :], y[..., [-1], :]), True),
    "from the front": (lambda y, n: (y[:, :, :4], y[:, :, [4]], y[:, :, [5]]), False),
    "by a number of the batch": (lambda y, n: (y[:, :, :-n], y[:, :, [-n]], y[:, :, [-1]]), False),
    "keys first": (lambda y, n: (y[:, :, 2:], y[:, :, [0]], y[:, :, [1]]), False),
    "a head as the key": (lambda y, n: (y[:, :, :-2], y[:, :, [-3]], y[:, :, [-1]]), False),
}


@pytest.mark.parametrize("way", PICKS)
def test_heads_before_one_key_and_value_at_the_end(way: str) -> None:
    pick, found = PICKS[way]
    plan = exact(Picked(pick))
    assert sizes(plan).get("qkv", 0) == (4 if found else 0) or way == "a head as the key"
    if way == "a head as the key":
        assert sizes(plan).get("qkv", 0) <= 3
