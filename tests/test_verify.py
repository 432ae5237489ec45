"""Verification of what is purged: wrong plans, sizes that a forward branches on, wrong counts."""

import dataclasses

import pytest
import torch
from plans import Mlp, column, mlp, plan_of, same, snapshot, units
from purging import gated, solver_of
from torch import nn

from lzero.attach import attach_gates
from lzero.errors import StructureError
from lzero.purge import purge

pytestmark = pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")  # of trainings that never were


def wrong_plan(scale=1.0):
    """A softmax over the units: closing one changes the others, and a hand-written plan denies it."""

    class Soft(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(3, 5), nn.Linear(5, 2, bias=False)

        def forward(self, x):
            return self.two(self.one(x).softmax(1)) * scale

    model = Soft()
    group = units("one", 5, ["one.weight"], ["one.bias"], {"two.weight": column(5)})
    return model, plan_of(model, [group], {"one.weight": 1, "two.weight": 1}, torch.randn(4, 3))


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e4])
def test_verification_catches_a_wrong_plan_whatever_the_outputs_scale(scale):
    model, gates, _ = gated(lambda: wrong_plan(scale))
    solver_of(gates, 0.5)
    before = snapshot(model)
    with pytest.raises(
        StructureError, match=r"Soft: purged and gated outputs differ by .* pass the layer .* to ignore="
    ):
        purge(model)
    same(before, snapshot(model))
    assert purge(model, verify=False).certificate.largest_difference is None


@pytest.mark.parametrize("way", ["raises", "turns"])
def test_verification_catches_a_size_that_the_forward_branches_on(way):
    class Strict(Mlp):
        def forward(self, x):
            out = super().forward(x)
            if self.fc1.out_features == 2:
                assert way == "turns", "unexpected width"
                return -out
            return out

    def build():
        model, plan = mlp(input_gates=False)
        model.__class__ = Strict
        return model, plan

    model, gates, _ = gated(build)
    with torch.no_grad():
        gates.log_alpha.copy_(torch.tensor([3.0, -3, -3, 3, -3, -3, 3]))
    before = snapshot(model)
    message = "does not run: its forward raised AssertionError: unexpected width" if way == "raises" else "differ by"
    with pytest.raises(StructureError, match=message):
        purge(model, settle=False)
    same(before, snapshot(model))


def test_verification_catches_a_wrong_parameter_count():
    model, gates, _ = gated(lambda: mlp(input_gates=False))
    with torch.no_grad():
        gates.log_alpha.copy_(torch.tensor([3.0, -3, 3, 3, 3, -3, 3]))
    gates.plan = dataclasses.replace(gates.plan, shapes={**gates.plan.shapes, "fc3.weight": (9, 3)})
    # 3 x 5 + 3, 2 x 3 + 2, 2 x 2 + 2; and 9 x 2 in place of 2 x 2
    with pytest.raises(StructureError, match="the purged model has 32 parameters, expected 46"):
        purge(model)


def test_verification_needs_example_inputs():
    model, plan = mlp()
    attach_gates(model, dataclasses.replace(plan, example_inputs=None))
    with pytest.raises(StructureError, match="no example inputs on the plan; pass verify=False"):
        purge(model)
    assert purge(model, verify=False).certificate.largest_difference is None
