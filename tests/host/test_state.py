"""What a forward leaves behind: noticed, whatever it is kept in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from nets import Net
from torch import Tensor, nn

from lzero.host.state import same_state, state_of

X = torch.ones(2, 3)


def changed(act: Callable[[Any, Tensor], Any]) -> bool:
    """Whether a forward that does this is noticed."""
    net: Any = Net(lambda net, x: (act(net, x), net.a(x))[1], a=nn.Linear(3, 3), norm=nn.BatchNorm1d(3))
    net.cache, net.table, net.last, net.kept = [], {}, None, torch.zeros(3)
    net.register_buffer("steps", torch.zeros(()))
    net.eval()
    before = state_of(net)
    net(X)
    return not same_state(before, state_of(net))


LEAVES: dict[str, Callable[[Any, Tensor], Any]] = {
    "an attribute": lambda net, x: setattr(net, "last", x),
    "a new attribute": lambda net, x: setattr(net, "other", 3),
    "a number": lambda net, x: setattr(net, "last", 1),
    "an entry of a list": lambda net, x: net.cache.append(1),
    "an entry of a dict": lambda net, x: net.table.update(x=x),
    "a write into a buffer": lambda net, x: net.steps.add_(1),
    "a write into a plain tensor": lambda net, x: net.kept.copy_(x[0]),
    "running statistics": lambda net, x: (net.norm.train(), net.norm(x))[1],
    "an attribute of a part": lambda net, x: setattr(net.a, "last", x),
}


@pytest.mark.parametrize("way", LEAVES)
def test_what_is_left_behind_is_noticed(way: str) -> None:
    assert changed(LEAVES[way])


@pytest.mark.parametrize("act", [lambda net, x: None, lambda net, x: net.norm(x), lambda net, x: net.kept + net.steps])
def test_what_only_reads_leaves_nothing(act: Callable[[Any, Tensor], Any]) -> None:
    assert not changed(act)


def test_weights_are_no_state() -> None:
    net = nn.Linear(3, 3)
    before = state_of(net)
    with torch.no_grad():
        net.weight.add_(1)
    assert same_state(before, state_of(net))


def test_tensors_of_inference_mode_have_no_version() -> None:
    net: Any = nn.Linear(3, 3)
    with torch.inference_mode():
        net.kept = torch.zeros(3)
    assert same_state(state_of(net), state_of(net))
