"""An undo: whatever was done to modules, they are what they were, to the bit and to the object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from plans import same, snapshot
from torch import nn
from torch.nn.utils import parametrize

from lzero.host.snapshot import Snapshot


def model() -> Any:
    net: Any = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    net.names, net.table, net.marks = ["a"], {"a": 1}, {"a"}
    return net


class Other(nn.Sequential):
    pass


TOGETHER = ("a list grown", "a dict emptied", "a hook", "a buffer", "another class", "a parametrization", "train mode")
CHANGES: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda net: None,
    "a new attribute": lambda net: setattr(net, "extra", 3),
    "an attribute gone": lambda net: delattr(net, "names"),
    "an attribute replaced": lambda net: setattr(net, "names", None),
    "a list grown": lambda net: net.names.append("b"),
    "a dict emptied": lambda net: net.table.clear(),
    "a set grown": lambda net: net.marks.add("b"),
    "another class": lambda net: setattr(net, "__class__", Other),
    "a hook": lambda net: net[0].register_forward_hook(lambda *_: None),
    "a parametrization": lambda net: parametrize.register_parametrization(net[0], "weight", nn.Identity()),
    "a buffer": lambda net: net.register_buffer("extra", torch.ones(1)),
    "a parameter replaced": lambda net: setattr(net[0], "weight", nn.Parameter(torch.ones(4, 3))),
    "a parameter gone": lambda net: setattr(net[0], "bias", None),
    "a child gone": lambda net: net.pop(1),
    "train mode": lambda net: net[1].eval(),
    "all at once": lambda net: [CHANGES[name](net) for name in TOGETHER],
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_taken_back(change: str) -> None:
    net = model()
    before, held = snapshot(net), [(module, dict(vars(module))) for module in net.modules()]
    undo = Snapshot(list(net.modules()))
    CHANGES[change](net)
    undo.restore()
    same(before, snapshot(net))
    for module, attributes in held:
        assert all(vars(module)[name] is value for name, value in attributes.items() if name != "training")
    assert (net.names, net.table, net.marks) == (["a"], {"a": 1}, {"a"})


def test_values_are_put_back_where_that_was_asked_for() -> None:
    net = model()
    undo = Snapshot([net])
    weight, bias = net[0].weight.clone(), net[0].bias.clone()
    undo.keep(net[0].weight)
    with torch.no_grad():
        net[0].weight.div_(3)
        net[0].bias.div_(3)
    undo.restore()
    assert torch.equal(net[0].weight, weight) and torch.equal(net[0].bias, bias / 3)


def test_what_did_not_change_is_not_written_to() -> None:
    with torch.inference_mode():
        kept = torch.ones(2)
    undo = Snapshot([])
    undo.keep(kept)
    undo.restore()  # a write would raise
