"""Where in a model its forward is, whatever is nested, shared, raised and caught."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from nets import Net
from torch import Tensor, nn

from lzero.host.module_path import ModulePath


class Asks(nn.Module):
    """Writes down the place that its forward is at."""

    def __init__(self, seen: list[str]) -> None:
        super().__init__()
        self.seen: Any = seen
        self.where: Any = None

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(self.where().current)
        return x


def asking(net: nn.Module, seen: list[str]) -> ModulePath:
    where = ModulePath(net)
    for module in net.modules():
        if isinstance(module, Asks):
            module.where = lambda: where
    return where


X = torch.ones(1)


def test_the_innermost_running_module_is_named() -> None:
    seen: list[str] = []
    net = nn.Sequential(Asks(seen), nn.Sequential(Asks(seen), nn.Identity(), Asks(seen)))
    where = asking(net, seen)
    net(X)
    assert seen == ["0", "1.0", "1.2"] and where.current == ""
    assert where.entered == {"", "0", "1", "1.0", "1.1", "1.2"}


def test_a_module_with_two_names_goes_by_its_first() -> None:
    seen: list[str] = []
    same = Asks(seen)
    net = nn.Sequential(same, same)
    asking(net, seen)
    net(X)
    assert seen == ["0", "0"]


def test_after_a_failure_it_is_the_one_that_failed() -> None:
    net = nn.Sequential(nn.Identity(), nn.Sequential(nn.Linear(3, 2)))
    where = ModulePath(net)
    with pytest.raises(RuntimeError):
        net(X)
    assert where.current == "1.0"
    where.reset()
    assert where.current == "" and not where.entered


def test_a_failure_that_is_caught_leaves_no_path_behind() -> None:
    seen: list[str] = []

    def careful(net: Any, x: Tensor) -> Tensor:
        try:
            return net.wrong(x)
        except RuntimeError:
            return net.asks(x)

    inner = Net(careful, wrong=nn.Sequential(nn.Linear(3, 2)), asks=Asks(seen))
    net = nn.Sequential(inner, Asks(seen))
    where = asking(net, seen)
    net(X)
    assert seen == ["0.asks", "1"] and where.current == ""


def test_hooks_go_when_they_are_removed_and_others_stay() -> None:
    net = nn.Sequential(nn.Linear(1, 1))
    mine = net[0].register_forward_hook(lambda *_: None)
    where = ModulePath(net)
    where.remove()
    assert list(net[0]._forward_hooks) == [mine.id] and not net[0]._forward_pre_hooks and not net._forward_hooks
    net(X)
    assert not where.entered
