"""Budgets: what is refused, with which words, and that the smallest feasible density in the message is feasible."""

import math
import re
from fractions import Fraction

import numpy as np
import pytest
import torch
from plans import CASES, lenet, mlp

import lzero
from lzero.constraints import Budget, Constraint
from lzero.errors import BudgetError
from lzero.structure.attach import attach_gates

BAD = [0, -1, 1.5, 0.0, math.nan, math.inf, -math.inf, "0.1", True, False, None, 1 + 0j, torch.tensor(0.1)]


def gated(case, **options):
    torch.manual_seed(0)
    model, plan = case()
    return model, attach_gates(model, plan, **options)


@pytest.mark.parametrize("target", BAD, ids=repr)
def test_a_target_outside_its_range_is_refused_wherever_it_stands(target):
    with pytest.raises(BudgetError, match=r"target: expected a density in \(0, 1\], such as 0\.1 for a tenth, found"):
        Constraint(target)
    with pytest.raises(BudgetError, match=r"scope\['fc1'\]: expected a density in \(0, 1\]"):
        Constraint(scope={"fc1": target})
    _, gates = gated(mlp)
    with pytest.raises(BudgetError):
        lzero.Solver(gates, target)


@pytest.mark.parametrize("target", [1, 1.0, 0.1, 1e-9, np.float32(0.5), np.float64(0.5), Fraction(1, 3)], ids=repr)
def test_a_target_of_any_real_type_is_taken(target):
    assert Constraint(target).target == target


def test_malformed_scopes_and_measures_are_refused():
    with pytest.raises(BudgetError, match="measure: expected one of params, macs, gates, found 'flops'"):
        Constraint(0.5, "flops")
    with pytest.raises(BudgetError, match="scope: expected 'model', 'layer' or a mapping of module paths, found 'all'"):
        Constraint(0.5, scope="all")
    with pytest.raises(BudgetError, match=r"scope: expected 'model', 'layer' or a mapping .*, found \['fc1'\]"):
        Constraint(0.5, scope=["fc1"])
    with pytest.raises(BudgetError, match="scope: expected at least one module path, found an empty mapping"):
        Constraint(scope={})
    with pytest.raises(BudgetError, match="a scope that is a mapping names its own targets; leave target out"):
        Constraint(0.5, scope={"fc1": 0.5})


def test_a_solver_takes_a_density_or_constraints():
    _, gates = gated(mlp)
    with pytest.raises(BudgetError, match="give either target_density or constraints"):
        lzero.Solver(gates)
    with pytest.raises(BudgetError, match="give either target_density or constraints"):
        lzero.Solver(gates, 0.5, constraints=[Constraint(0.5)])
    with pytest.raises(BudgetError, match="constraints is empty"):
        lzero.Solver(gates, constraints=[])
    with pytest.raises(BudgetError, match="two budgets hold for the same part and measure: params, params"):
        lzero.Solver(gates, constraints=[Constraint(0.5), Constraint(0.6)])


def test_scopes_become_parts():
    _, gates = gated(lenet)
    assert Constraint(0.5).parts(gates) == {"": 0.5}
    assert Constraint(0.5, scope="layer").parts(gates) == dict.fromkeys(["conv1", "conv2", "fc1", "fc2"], 0.5)
    assert Constraint(scope={"fc1": 0.6, "": 0.7}).parts(gates) == {"fc1": 0.6, "": 0.7}
    assert Budget(Constraint(0.9, "macs", "layer"), gates).names == ["macs/conv1", "macs/conv2", "macs/fc1", "macs/fc2"]
    assert Budget(Constraint(0.9), gates).names == ["params"]


@pytest.mark.parametrize("path", ["fc9", "conv", "fc1.weight.x", "lzero_gates"])
def test_an_unknown_layer_is_refused_and_the_known_ones_are_named(path):
    _, gates = gated(lenet)
    with pytest.raises(BudgetError, match=f"no gated layer at '{path}'; the gated layers are conv1, conv2, fc1, fc2"):
        lzero.Solver(gates, constraints=[Constraint(scope={path: 0.5})])


def test_layerwise_gate_budgets_hold_where_there_are_gates_to_count():
    """conv1 has no gates on what it reads: a share of nothing would be NaN."""
    _, gates = gated(lenet)
    budget = Budget(Constraint(0.9, "gates", "layer"), gates)
    assert budget.names == ["gates/conv2", "gates/fc1", "gates/fc2"]
    assert torch.isfinite(budget.cost.fraction(gates.floor())).all()
    with pytest.raises(BudgetError, match="no gated layer at 'conv1'; the gated layers are conv2, fc1, fc2"):
        Budget(Constraint(measure="gates", scope={"conv1": 0.5}), gates)


@pytest.mark.parametrize("measure", ["params", "macs", "gates"])
@pytest.mark.parametrize("scope", ["model", "layer"])
@pytest.mark.parametrize("name", CASES)
def test_an_infeasible_target_is_refused_with_the_smallest_feasible_one(name, scope, measure):
    model, gates = gated(CASES[name])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    target, least = 1e-6, math.nan
    for _ in range(8):  # layer by layer, the message names one at a time
        try:
            budget = Budget(Constraint(target, measure, scope), gates)
            break
        except BudgetError as error:
            found = re.search(
                r"^(\S+): a density of .* cannot be met: .* ask for at least (0\.\d{6}|1\.000000)$", str(error)
            )
            assert found, str(error)
            assert target < float(found[2])
            target, part = float(found[2]), found[1]
            least = target
    floor = budget.cost.fraction(gates.floor())
    assert bool((floor <= target).all())
    if not math.isnan(least):  # and nothing below it is
        with pytest.raises(BudgetError, match=f"^{part}: "):
            Budget(Constraint(least - 2e-6, measure, scope), gates)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_the_smallest_feasible_density_is_exactly_met_by_settling():
    model, gates = gated(mlp)
    least = float(Budget(Constraint(1.0), gates).cost.fraction(gates.floor()))
    lzero.Solver(gates, least)
    result = lzero.purge(model)
    assert result.certificate.deployed == {"params": least}


@pytest.mark.parametrize("wrong", [-1, math.nan, math.inf, "1", True])
def test_a_malformed_augmentation_is_refused(wrong):
    _, gates = gated(mlp)
    with pytest.raises(BudgetError, match="augmentation: expected a finite number >= 0"):
        lzero.Solver(gates, 0.9, augmentation=wrong)


def test_a_refused_budget_leaves_the_earlier_solvers_budgets_in_place():
    _, gates = gated(mlp)
    solver = lzero.Solver(gates, 0.9)
    with pytest.raises(BudgetError, match="cannot be met"):
        lzero.Solver(gates, 1e-3)
    assert gates.budgets is solver.budgets
