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
