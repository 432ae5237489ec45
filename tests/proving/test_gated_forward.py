"""Forwards that tell gated weights from plain ones are refused before the model is touched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from nets import Net
from torch import Tensor, nn
from torch.nn import functional as F

import lzero
from lzero.errors import StructureError

X = torch.randn(3, 5)


def layers(step: Callable[[nn.Module, Tensor], Tensor]) -> Net:
    def forward(net: Any, x: Tensor) -> Tensor:
        for layer in net.layers:
            x = step(layer, x)
        return x

    return Net(forward, layers=nn.ModuleList([nn.Linear(5, 12), nn.Linear(12, 12), nn.Linear(12, 2)]))


def by_name(net: Any, x: Tensor) -> Tensor:
    weights = dict(net.named_parameters())
    return F.linear(F.linear(x, weights["a.weight"]).relu(), weights["b.weight"])


def by_table(net: Any, x: Tensor) -> Tensor:
    return F.linear(F.linear(x, net.a._parameters["weight"]).relu(), net.b._parameters["weight"])


def by_count(net: Any, x: Tensor) -> Tensor:
    return net.b(net.a(x).relu() * float(len(list(net.modules()))))


def by_leaves(net: Any, x: Tensor) -> Tensor:
    for module in net.modules():
        x = x if list(module.children()) else module(x)
    return x


def two(forward: Callable[..., Any]) -> Net:
    return Net(forward, a=nn.Linear(5, 12), b=nn.Linear(12, 2))


NOTICED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "type is Linear": (lambda: layers(lambda m, x: m(x).relu() if type(m) is nn.Linear else m(x)), "other outputs"),
    "name of the class": (
        lambda: layers(lambda m, x: m(x).tanh() if type(m).__name__ == "Linear" else m(x)),
        "other outputs",
    ),
    "weights by name": (lambda: two(by_name), "KeyError: 'b.weight'"),
    "table of parameters": (lambda: two(by_table), "KeyError: 'weight'"),
    "number of modules": (lambda: two(by_count), "other outputs"),
    "leaves": (lambda: two(by_leaves), "raises"),
}


@pytest.mark.parametrize("name", NOTICED)
def test_a_forward_that_would_notice_its_gates_is_refused_untouched(name: str) -> None:
    build, problem = NOTICED[name]
    model = build()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    types = [type(module) for module in model.modules()]
    with pytest.raises(StructureError, match=f"with gates its forward .*{problem}"):
        lzero.attach_gates(model, X)
    assert [type(module) for module in model.modules()] == types
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_isinstance_and_attributes_are_fine() -> None:
    model = layers(lambda m, x: m(x).relu() if isinstance(m, nn.Linear) else m(x))
    assert len(lzero.attach_gates(model, X)) == 24


def test_inputs_that_are_not_finite_are_no_reason() -> None:
    model = layers(lambda m, x: m(x).relu())
    assert len(lzero.attach_gates(model, torch.full((3, 5), torch.nan))) == 24


def test_what_one_call_leaves_behind_for_the_next_is_no_difference() -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        y = net.b(net.a(x).relu()) + net.before
        net.before = y.detach()
        return y

    model = two(forward)
    model.before = torch.zeros(3, 2)
    gates = lzero.attach_gates(model, X)
    assert len(gates) == 12 and not model.before.any()
