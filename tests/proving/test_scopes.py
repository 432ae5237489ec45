"""The smallest part that holds a group: modules, stretches of a Sequential, and what widens or forbids them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from nets import Net
from torch import Tensor, nn
from torch.nn import functional as F

from lzero.host.copies import private_copy
from lzero.plan.group import GateGroup
from lzero.proving.scopes import Scope, inputs_of, scopes_of
from lzero.tracing.grouping import unit_groups
from lzero.tracing.tracer import Trace, trace

X = torch.randn(3, 4)


class Block(nn.Module):
    """A hidden layer of ``width`` units."""

    def __init__(self, width: int = 6, size: int = 4) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(size, width), nn.Linear(width, size)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(self.up(x).relu())


def studied(model: nn.Module, x: Any = X) -> tuple[nn.Module, Trace, list[GateGroup]]:
    spare = private_copy(model)
    seen = trace(spare, x)
    return spare, seen, unit_groups(seen, spare, lambda members: None)[0]


def scopes(model: nn.Module, x: Any = X) -> dict[Scope, list[str]]:
    found = scopes_of(*studied(model, x))
    return {scope: [group.name for group in groups] for scope, groups in found.items()}


def test_a_module_that_holds_all_of_a_group() -> None:
    model = Net(lambda net, x: net.head(net.two(net.one(x))), one=Block(), two=Block(5), head=nn.Linear(4, 2))
    assert scopes(model) == {Scope("one"): ["one.up"], Scope("two"): ["two.up"]}


def test_the_lowest_common_module() -> None:
    inner = Net(
        lambda net, x: net.b(net.deep.a(x).relu()), deep=nn.ModuleDict({"a": nn.Linear(4, 6)}), b=nn.Linear(6, 4)
    )
    model = Net(
        lambda net, x: net.head(net.outer.inner(x)), outer=nn.ModuleDict({"inner": inner}), head=nn.Linear(4, 2)
    )
    assert scopes(model)[Scope("outer.inner")] == ["outer.inner.deep.a"]


def test_stretches_of_a_sequential() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 7), nn.Linear(7, 2))
    assert scopes(model) == {Scope("", 0, 2): ["0"], Scope("", 2, 4): ["2"], Scope("", 4, 5): ["4"]}


def test_stretches_below_the_root() -> None:
    layers = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 6), nn.Linear(6, 3))
    model = Net(lambda net, x: net.head(net.layers(x)), layers=layers, head=nn.Linear(3, 2))
    assert scopes(model)[Scope("layers", 0, 2)] == ["layers.0"]


def test_what_only_the_whole_model_holds_is_left_out() -> None:
    assert scopes(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))) == {}
    assert scopes(Net(lambda net, x: net.b(net.a(x)), a=nn.Linear(4, 5), b=nn.Linear(5, 2))) == {}


def test_nested_parts_are_one() -> None:
    """The stream of two blocks needs both, and takes their hidden layers along."""
    both = Net(lambda net, x: net.last(net.two(net.one(net.first(x)))), first=nn.Linear(4, 4), one=Block(),
               two=Block(5), last=nn.Linear(4, 4))  # fmt: skip
    model = Net(lambda net, x: net.head(net.both(x)), both=both, head=nn.Linear(4, 2))
    assert scopes(model) == {Scope("both"): ["both.first", "both.one.up", "both.two.up"]}


def test_a_module_in_a_stretch_is_a_part_of_its_own() -> None:
    model = nn.Sequential(nn.Linear(3, 4), Block(), Block(5), nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 2))
    assert scopes(model, torch.randn(3, 3)) == {
        Scope("", 0, 3): ["0"], Scope("", 3, 5): ["3"], Scope("1"): ["1.up"], Scope("2"): ["2.up"],
    }  # fmt: skip


def test_a_weight_that_is_used_elsewhere_widens_the_part() -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        return net.head(net.one(x)) + F.linear(x, net.one.up.weight[:2] * 0 + 1)[:, :2]

    model = Net(forward, one=Block(), head=nn.Linear(4, 2))
    assert Scope("one") not in scopes(model)
    tied = Net(lambda net, x: net.head(net.two(net.one(x))), one=Block(), two=Block(), head=nn.Linear(4, 2))
    tied.two.up.weight = tied.one.up.weight  # type: ignore[union-attr]
    assert scopes(tied) == {}
    within = Net(
        lambda net, x: net.head(net.both(x)), both=nn.Sequential(Block(), Block(), Block()), head=nn.Linear(4, 2)
    )
    within.both[1].up.weight = within.both[0].up.weight  # type: ignore[index,union-attr]
    assert scopes(within)[Scope("both", 0, 1)] == ["both.0.up"]


def test_a_module_that_is_called_twice_is_no_part() -> None:
    twice = Net(lambda net, x: net.head(net.one(net.one(x))), one=Block(), head=nn.Linear(4, 2))
    assert scopes(twice) == {}
    outer = Net(lambda net, x: net.head(net.twice(x)), twice=Net(lambda net, x: net.one(net.one(x)), one=Block()),
                head=nn.Linear(4, 2))  # fmt: skip
    assert scopes(outer) == {Scope("twice"): ["twice.one.up"]}


class Skips(nn.Sequential):
    """A Sequential with a forward of its own."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = layer(x) * 2
        return x


def test_a_sequential_with_a_forward_of_its_own_is_a_module_like_others() -> None:
    layers = [nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 6), nn.Linear(6, 4)]
    model = nn.Sequential(Skips(*layers), nn.Linear(4, 2))
    found = scopes(model)
    assert found == {Scope("0"): ["0.0", "0.2"]} or all(
        scope.path == "0" and scope.last < 0 for scope in found if "0.0" in found[scope]
    )
    assert all(scope.path != "0" or scope.last < 0 for scope in found)


def test_a_child_that_stands_twice_in_a_sequential_forbids_stretches() -> None:
    same = nn.ReLU()
    layers = nn.Sequential(nn.Linear(4, 5), same, nn.Linear(5, 6), same, nn.Linear(6, 2))
    assert all(scope.path or scope.last < 0 for scope in scopes(layers))


def test_a_stretch_is_cut_out_with_its_modules_and_names() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2))
    spare, seen, groups = studied(model)
    scope = Scope("", 2, 4)
    part = scope.cut_out(spare)
    assert [name for name, _ in part.named_children()] == ["2", "3", "4"] and part[0] is spare[2]  # type: ignore[index]
    renamed = scope.rename(groups[1])
    assert {m.tensor for m in renamed.members} == {m.tensor for m in groups[1].members}
    assert [tuple(tensor.shape) for tensor in inputs_of(scope, spare, seen)] == [(3, 5)]
    assert inputs_of(scope, spare, seen).call(part).shape == (3, 2)


def test_a_module_is_cut_out_as_it_is() -> None:
    model = Net(lambda net, x: net.head(net.one(x)), one=Block(), head=nn.Linear(4, 2))
    spare, seen, (group,) = studied(model)
    scope = Scope("one")
    assert scope.cut_out(spare) is spare.one  # type: ignore[union-attr]
    renamed = scope.rename(group)
    assert {m.tensor for m in renamed.members} == {"up.weight", "up.bias", "down.weight"}
    assert (renamed.name, renamed.size, renamed.kind) == (group.name, group.size, group.kind)
    assert inputs_of(scope, spare, seen).call(spare.one).shape == (3, 4)  # type: ignore[union-attr,arg-type]


@pytest.mark.parametrize(
    ("one", "two", "holds"),
    [
        (Scope("a"), Scope("a"), True), (Scope("a"), Scope("a.b"), True), (Scope("a"), Scope("ab"), False),
        (Scope("a.b"), Scope("a"), False), (Scope("a"), Scope("a", 0, 1), True), (Scope(""), Scope("x", 1, 2), True),
        (Scope("a", 0, 3), Scope("a", 1, 3), True), (Scope("a", 0, 3), Scope("a", 1, 4), False),
        (Scope("a", 0, 3), Scope("a"), False), (Scope("a", 0, 3), Scope("a.1"), False),
        (Scope("a", 1, 3), Scope("a", 0, 2), False), (Scope("a", 0, 3), Scope("b", 1, 2), False),
    ],
)  # fmt: skip
def test_what_holds_what(one: Scope, two: Scope, holds: bool) -> None:
    assert one.holds(two) is holds
