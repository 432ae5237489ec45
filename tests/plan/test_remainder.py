"""What is left at a share of the units: against every closure there is, true counts, and what a budget says."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import pytest
import torch
from torch import nn

import lzero
from lzero.cost import Cost
from lzero.errors import BudgetError
from lzero.plan.plan import Plan
from lzero.surgery.shrink import shrink
from lzero_lab.models import MLP, LeNet5, ResNet

SMALL = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2))
CASES = {
    "units": (lambda: MLP(12, (6, 5), 3), torch.rand(2, 12), "unit"),
    "inputs": (lambda: LeNet5(1, 8, (4, 6), 10, 3), torch.rand(2, 1, 8, 8), "input"),
    "weights": (lambda: MLP(12, (6, 5), 3), torch.rand(2, 12), "weight"),
    "residual": (lambda: ResNet(1, (4, 6), 1, 3), torch.rand(2, 1, 8, 8), "unit"),
}


def closures(plan: Plan) -> Iterator[dict[str, torch.Tensor]]:
    """Every set of open gates with one in each group."""
    sets = [[m for m in itertools.product((True, False), repeat=group.size) if any(m)] for group in plan]
    for masks in itertools.product(*sets):
        yield {group.name: torch.tensor(mask) for group, mask in zip(plan, masks, strict=True)}


def test_the_floor_is_the_smallest_of_all_closures() -> None:
    plan, counts = lzero.discover(SMALL, torch.rand(2, 4), granularity="input"), []
    for keep in closures(plan):
        cut = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2))
        shrink(cut, plan.groups, keep)
        counts.append(sum(p.numel() for p in cut.parameters()))
    assert plan.floor() == pytest.approx(min(counts) / plan.parameters, abs=1e-12)


@pytest.mark.parametrize("measure", ["params", "macs"])
@pytest.mark.parametrize("name", CASES)
def test_the_floor_is_what_a_budget_says(name: str, measure: str) -> None:
    build, inputs, granularity = CASES[name]
    gates = lzero.attach_gates(build(), inputs, granularity=granularity)
    floor = gates.plan.floor(measure)  # type: ignore[arg-type]
    assert floor == pytest.approx(float(Cost(gates, measure).fraction(gates.floor())), abs=1e-12)  # type: ignore[arg-type]
    assert sum(gates.plan.floor_parts(measure).values()) == pytest.approx(floor, abs=1e-12)  # type: ignore[arg-type]
    asked = math.ceil(floor * 1e6) / 1e6
    lzero.Solver(gates, target_density=asked, measure=measure, total_steps=5)  # type: ignore[arg-type]
    with pytest.raises(BudgetError, match="cannot be met"):
        lzero.Solver(gates, target_density=floor * 0.99, measure=measure, total_steps=5, fresh=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["units", "residual"])
def test_half_of_everything_is_what_is_left_of_the_cut_model(name: str) -> None:
    build, inputs, granularity = CASES[name]
    model = build()
    plan = lzero.discover(model, inputs, granularity=granularity)
    keep = {group.name: torch.arange(group.size) % 2 == 0 for group in plan}  # a half, rounded up
    shrink(model, plan.groups, keep)
    assert plan.left(0.5) == pytest.approx(sum(p.numel() for p in model.parameters()) / plan.parameters, abs=1e-12)
    assert plan.left(1.0) == 1.0 and plan.left(0.0) == plan.floor()


def test_a_check_is_true_from_the_floor_on_and_says_what_to_ask_for() -> None:
    plan = lzero.discover(MLP(12, (6, 5), 3), torch.rand(2, 12))
    floor = plan.floor()
    assert plan.check(floor) and plan.check(1.0) and not plan.check(floor / 2)
    assert "satisfiable" in str(plan.check(1.0)) and "not" not in str(plan.check(1.0))
    assert f"ask for at least {math.ceil(floor * 1e6) / 1e6:.6f}" in str(plan.check(floor / 2))


@pytest.mark.parametrize("target", [0, -1, 1.5, "half", None, float("nan")])
def test_a_target_that_is_no_density_is_refused(target: object) -> None:
    plan = lzero.discover(MLP(12, (6, 5), 3), torch.rand(2, 12))
    with pytest.raises(BudgetError, match="target"):
        plan.check(target)  # type: ignore[arg-type]


def test_a_share_or_measure_that_is_none_is_refused() -> None:
    plan = lzero.discover(MLP(12, (6, 5), 3), torch.rand(2, 12))
    with pytest.raises(BudgetError, match="share"):
        plan.left(1.5)
    with pytest.raises(BudgetError, match="measure"):
        plan.floor("gates")  # type: ignore[arg-type]
