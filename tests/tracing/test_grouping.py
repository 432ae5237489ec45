"""From classes to groups: who is in a group, what it is called, and why the others are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from nets import IMAGE, Net, lenet
from torch import Tensor, nn
from torch.nn import functional as F

from lzero.host.copies import private_copy
from lzero.plan.group import GateGroup
from lzero.plan.refusal import Reason, Refusal
from lzero.tracing.grouping import unit_groups
from lzero.tracing.tracer import trace

X = torch.randn(3, 5)


def grouped(model: nn.Module, inputs: Any, veto: Any = lambda members: None) -> tuple[list[GateGroup], list[Refusal]]:
    return unit_groups(trace(private_copy(model), inputs), model, veto)


def members(group: GateGroup) -> dict[tuple[str, int], tuple[str, list[list[int]]]]:
    return {(m.tensor, m.dim): (m.role, m.index.tolist()) for m in group.members}


def each(size: int, width: int = 1) -> list[list[int]]:
    return torch.arange(size * width).view(size, width).tolist()


def test_a_group_has_makers_followers_and_readers_in_the_order_of_the_model() -> None:
    groups, _ = grouped(lenet(), IMAGE)
    assert [(group.name, group.size, group.kind) for group in groups] == [
        ("conv1", 4, "unit"), ("conv2", 6, "unit"), ("fc1", 10, "unit"),
    ]  # fmt: skip
    assert members(groups[1]) == {
        ("conv2.weight", 0): ("producer", each(6)),
        ("conv2.bias", 0): ("coupled", each(6)),
        ("fc1.weight", 1): ("consumer", each(6, 4)),  # a channel is four features
    }


def test_statistics_follow_their_units() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3))
    (group,), _ = grouped(model, IMAGE)
    coupled = {tensor for (tensor, _), (role, _) in members(group).items() if role == "coupled"}
    assert coupled == {"0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var"}


def test_units_of_a_residual_stream_are_one_group() -> None:
    model = Net(lambda net, x: net.c(net.a(x) + net.b(x)), a=nn.Linear(5, 4), b=nn.Linear(5, 4), c=nn.Linear(4, 2))
    (group,), _ = grouped(model, X)
    assert group.name == "a"
    assert {tensor for tensor, _ in members(group)} == {"a.weight", "a.bias", "b.weight", "b.bias", "c.weight"}


def test_parts_of_one_layer_with_other_readers_are_groups_of_their_own() -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        one, two = net.a(x).chunk(2, 1)
        return net.b(one.relu()) + net.b(two.tanh())

    model = Net(forward, a=nn.Linear(5, 8), b=nn.Linear(4, 2))
    (group,), _ = grouped(model, X)  # the halves are tied: one unit is one of each
    assert members(group)["a.weight", 0] == ("producer", [[0, 4], [1, 5], [2, 6], [3, 7]])


class Two(nn.Module):
    """A hidden layer in a module that owns both of its weights, and another."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = (nn.Parameter(torch.randn(shape)) for shape in ((6, 5), (4, 6), (2, 4)))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.linear(F.linear(x, self.one).relu(), self.two).relu(), self.three)


def test_groups_of_one_module_are_numbered() -> None:
    groups, _ = grouped(nn.Sequential(Two()), X)
    assert [(group.name, group.size) for group in groups] == [("0", 6), ("0#2", 4)]
    groups, _ = grouped(Two(), X)
    assert [(group.name, group.size) for group in groups] == [("one", 6), ("two", 4)]  # the model's own go by tensor


def why(refusals: list[Refusal], name: str) -> set[str]:
    return {refusal.reason for refusal in refusals if refusal.name == name}


def test_outputs_and_inputs_are_refused_with_their_reasons() -> None:
    _, refusals = grouped(nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 2)), X)
    assert {(r.name, r.size, r.tensors) for r in refusals} == {
        ("0.input", 5, ("0.weight",)), ("1", 2, ("1.weight", "1.bias")),
    }  # fmt: skip
    assert why(refusals, "1") == {"it is an output of the model"}


def test_units_that_nothing_reads() -> None:
    model = Net(lambda net, x: net.a(x).relu().sum(0).shape and net.b(x), a=nn.Linear(5, 4), b=nn.Linear(5, 2))
    _, refusals = grouped(model, X)
    assert any("no weight reads it" in reason for reason in why(refusals, "a"))


def test_units_that_are_all_tied() -> None:
    """A shuffle of four groups of one channel each: all four are one unit, and closing it would close the layer."""
    model = Net(lambda net, x: net.b(F.channel_shuffle(net.a(x), 4)), a=nn.Conv2d(1, 4, 3), b=nn.Conv2d(4, 2, 3))
    groups, refusals = grouped(model, IMAGE)
    assert not groups
    (reason,) = why(refusals, "a")
    assert reason.startswith("all its units are tied into a single one")


def test_parameters_that_no_op_touched() -> None:
    model = Net(lambda net, x: net.b(x), a=nn.Linear(5, 4), b=nn.Linear(5, 2))
    groups, refusals = grouped(model, X)
    assert not groups
    (unused,) = [refusal for refusal in refusals if refusal.name == "a"]
    assert (unused.size, unused.tensors) == (4, ("a.weight", "a.bias"))
    assert unused.reason.startswith("not used in the forward")


def test_a_tensor_is_gated_along_two_dims_at_most() -> None:
    """Experts [expert, in, out] that are free in all three dims."""

    def forward(net: Any, x: Tensor) -> Tensor:
        h = net.a(x).relu()
        made = torch.bmm(h.expand(3, -1, -1), net.up) * net.router(x).sigmoid().T[..., None]
        return net.out(torch.bmm(made, net.down).sum(0))

    model = Net(forward, a=nn.Linear(5, 6), router=nn.Linear(5, 3), out=nn.Linear(2, 2))
    model.up, model.down = nn.Parameter(torch.randn(3, 6, 4)), nn.Parameter(torch.randn(3, 4, 2))
    groups, refusals = grouped(model, X)
    along = {dim for group in groups for tensor, dim in members(group) if tensor == "up"}
    assert len(along) == 2
    assert "a tensor would be gated along more than two dims" in {refusal.reason for refusal in refusals}


@pytest.mark.parametrize("place", ["conv1", "conv2", "fc1"])
def test_a_veto_refuses_a_group_with_its_words(place: str) -> None:
    def veto(found: Any) -> Reason | None:
        return (
            Reason("no", "never")
            if any(m.tensor == f"{place}.weight" and m.role == "producer" for m in found)
            else None
        )

    groups, refusals = grouped(lenet(), IMAGE, veto)
    assert place not in {group.name for group in groups} and len(groups) == 2
    assert [(r.reason, r.advice) for r in refusals if r.name == place] == [("no", "never")]


def test_refusals_of_one_place_and_reason_are_one() -> None:
    model = nn.Sequential(nn.Linear(5, 6), nn.Softmax(-1), nn.Linear(6, 2))
    _, refusals = grouped(model, X)
    assert len({(refusal.name, refusal.reason) for refusal in refusals}) == len(refusals)
    (mixed,) = [refusal for refusal in refusals if refusal.name == "0"]
    assert mixed.size == 6 and "mixes all units" in mixed.reason
