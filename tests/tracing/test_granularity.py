"""What the granularity gates, and what is ignored as asked."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from nets import IMAGE, Net, lenet, mlp, reasons, sizes
from torch import nn
from torch.nn import functional as F

from lzero.discover import discover
from lzero.errors import StructureError
from lzero.plan.plan import Plan

AssertExact = Callable[..., Plan]


class TestGranularity:
    def test_input_adds_what_no_unit_owns(self, assert_exact: AssertExact) -> None:
        plan = assert_exact(lenet(), IMAGE, granularity="input")
        assert sizes(plan) == {"conv1": 4, "conv2": 6, "fc1": 10, "fc1.input": 24}
        assert plan.groups[-1].kind == "input"
        assert [(m.tensor, m.dim, m.role) for m in plan.groups[-1].members] == [("fc1.weight", 1, "consumer")]

    def test_input_of_the_first_layer(self, assert_exact: AssertExact) -> None:
        assert sizes(assert_exact(mlp(), torch.randn(5, 12), granularity="input")) == {"0.input": 12, "0": 8, "2": 6}

    def test_features_that_are_gated_are_not_refused(self) -> None:
        plan = discover(mlp(), torch.randn(5, 12), granularity="input")
        assert [refusal.name for refusal in plan.refusals] == ["4"]
        some = discover(mlp(), torch.randn(5, 12), granularity={"2": "input"})
        assert [refusal.name for refusal in some.refusals] == ["0.input", "4"]

    def test_shared_linear_keeps_its_inputs(self) -> None:
        model = Net(lambda net, x: net.b(net.a(x) + F.linear(x, net.a.weight)), a=nn.Linear(5, 4), b=nn.Linear(4, 2))
        assert "a.input" not in sizes(discover(model, torch.randn(3, 5), granularity="input"))

    def test_weight(self, assert_exact: AssertExact) -> None:
        plan = assert_exact(mlp(), torch.randn(5, 12), granularity="weight")
        assert sizes(plan) == {"0": 96, "2": 48, "4": 18}
        assert all(g.kind == "weight" and g.members[0].dim == -1 for g in plan.groups)

    def test_mapping_chooses_by_longest_prefix(self, assert_exact: AssertExact) -> None:
        plan = assert_exact(mlp(), torch.randn(5, 12), granularity={"": "unit", "4": "weight"})
        assert {(g.name, g.kind) for g in plan.groups} == {("0", "unit"), ("4", "weight")}
        assert "4.weight is gated weight by weight" in reasons(plan)

    def test_ignore(self, assert_exact: AssertExact) -> None:
        plan = assert_exact(lenet(), IMAGE, ignore=("conv2", "fc2.weight"))
        assert sizes(plan) == {}
        assert reasons(plan).count("ignored as asked") == 3

    def test_unknown_names_are_refused_with_near_matches(self) -> None:
        with pytest.raises(StructureError, match=r"granularity: the model has no 'fc'; did you mean 'fc\d' or"):
            discover(lenet(), IMAGE, granularity={"fc": "unit"})
        with pytest.raises(
            StructureError, match=r"ignore: the model has no 'conv1.wieght'; did you mean 'conv1.weight'"
        ):
            discover(lenet(), IMAGE, ignore=["conv1.wieght"])
        with pytest.raises(StructureError, match=r"expected one of .*, found 'units'"):
            discover(lenet(), IMAGE, granularity="units")
