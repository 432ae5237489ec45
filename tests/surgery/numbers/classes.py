"""Modules of made-up classes, the roles of their numbers, and attention to gate, purge and reload."""

from __future__ import annotations

import copy

import torch
from torch import nn

import lzero
import lzero.surgery.numbers.registry as registry
from lzero.host.run import run
from lzero.surgery.numbers import Role

HEADS, WIDTH = 4, 24


def role(module: nn.Module, name: str) -> Role:
    return registry.roles_of(module, [name])[0]


def of_class(name: str, base: type[nn.Module] = nn.Module) -> nn.Module:
    """A module of an empty class of this dotted name."""
    place, _, leaf = name.rpartition(".")
    return type(leaf, (base,), {"__module__": place, "__qualname__": leaf})()


def check_heads(model: nn.Module) -> None:
    """Raise where the heads of ``model`` are not found, purged and reloaded with their number."""
    x = torch.randn(2, 5, WIDTH)
    fresh = copy.deepcopy(model)
    gates = lzero.attach_gates(model, x)
    assert [group.size for group in gates.plan.groups] == [HEADS]
    with torch.no_grad():
        gates.log_alpha.copy_(torch.tensor([9.0, -9.0, 1.0, -9.0]))
    small = lzero.purge(model).model
    again = lzero.load_purged(fresh, small.state_dict())
    attention = getattr(again, "inner", again)
    assert attention.num_heads == 2 and attention.head_dim == WIDTH // HEADS
    assert run(again, x)[0].equal(run(small, x)[0])
    torch.testing.assert_close(run(small, x), run(model, x), rtol=1e-4, atol=1e-4)
