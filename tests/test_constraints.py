"""Budgets: what is refused, with which words, and that the smallest feasible density in the message is feasible."""

import math
import re
from fractions import Fraction

import numpy as np
import pytest
import torch
from plans import CASES, lenet, mlp
from torch import nn

import lzero
from lzero.attach import attach_gates
from lzero.constraints import Budgets, Constraint
from lzero.errors import BudgetError

BAD = [0, -1, 1.5, 0.0, math.nan, math.inf, -math.inf, "0.1", True, False, None, 1 + 0j, torch.tensor(0.1)]


def gated(case, **options):
    torch.manual_seed(0)
    model, plan = case()
    return model, attach_gates(model, plan, **options)


@pytest.mark.parametrize("target", BAD, ids=repr)
def test_a_target_outside_its_range_is_refused_wherever_it_stands(target):
    with pytest.raises(BudgetError, match=r"target: expected a density in \(0, 1\], such as 0\.1 for a tenth, found"):
        Constraint(target)
    _, gates = gated(mlp)
    with pytest.raises(BudgetError):
        lzero.Solver(gates, target, anneal_steps=1)


@pytest.mark.parametrize("target", [1, 1.0, 0.1, 1e-9, np.float32(0.5), np.float64(0.5), Fraction(1, 3)], ids=repr)
def test_a_target_of_any_real_type_is_taken_as_a_float(target):
    assert Constraint(target).target == float(target) and type(Constraint(target).target) is float


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"measure": "flops"}, "measure: expected one of 'params', 'macs', 'gates', 'latency', found 'flops'"),
        ({"measure": None}, "measure: expected one of 'params', 'macs', 'gates', 'latency', found None"),
        ({"measure": ["params"]}, "measure: expected one of"),
        ({"within": ""}, "within: expected the path of a module, such as .*, or None, found ''"),
        ({"within": ["fc1"]}, r"within: expected the path of a module, .* found \['fc1'\]"),
        ({"within": {"fc1": 0.5}}, "within: expected the path of a module"),
        ({"within": b"fc1"}, "within: expected the path of a module"),
        ({"each_layer": 1}, "each_layer: expected True or False, found 1"),
        ({"each_layer": "layer"}, "each_layer: expected True or False, found 'layer'"),
        ({"uniform": 1}, "uniform: expected True or False, found 1"),
    ],
)
def test_malformed_parts_and_measures_are_refused(options, message):
    with pytest.raises(BudgetError, match=message):
        Constraint(0.5, **options)


def test_a_solver_takes_a_density_or_constraints():
    _, gates = gated(mlp)

    def build(*args, **options):
        return lzero.Solver(gates, *args, anneal_steps=1, **options)

    with pytest.raises(BudgetError, match="give either target_density or constraints"):
        build()
    with pytest.raises(BudgetError, match="give either target_density or constraints"):
        build(0.5, constraints=[Constraint(0.5)])
    with pytest.raises(BudgetError, match="measure belongs to target_density; give it to each Constraint instead"):
        build(constraints=[Constraint(0.5)], measure="macs")
    with pytest.raises(BudgetError, match="two budgets hold for the same part and measure: params, params"):
        build(constraints=[Constraint(0.5), Constraint(0.6)])
    assert build(constraints=Constraint(0.5)).constraints == (Constraint(0.5),)
    assert build(0.5).constraints == (Constraint(0.5),)


@pytest.mark.parametrize("wrong", [[], (), "params", 3, {}, {"fc1": 0.5}, [0.5], [Constraint(0.5), None], object()])
def test_what_is_no_sequence_of_constraints_is_refused(wrong):
    _, gates = gated(mlp)
    with pytest.raises(BudgetError, match=r"expected constraints=\[lzero\.Constraint\(0\.1\), \.\.\.\], found"):
        lzero.Solver(gates, constraints=wrong, anneal_steps=1)


def test_constraints_become_parts():
    _, gates = gated(lenet)
    layers = ["conv1", "conv2", "fc1", "fc2"]
    assert Constraint(0.5).parts(gates) == {"": 0.5}
    assert Constraint(0.5, each_layer=True).parts(gates) == dict.fromkeys(layers, 0.5)
    assert Constraint(0.6, within="fc1").parts(gates) == {"fc1": 0.6}
    assert Constraint(0.6, within="fc1", each_layer=True).parts(gates) == {"fc1": 0.6}
    budgets = Budgets([Constraint(0.9, "macs", each_layer=True), Constraint(0.9)], gates)
    assert budgets.names == [*(f"macs/{layer}" for layer in layers), "params"]
    assert budgets.targets.tolist() == [0.9] * 5 and len(budgets.cost.total) == 5


def test_a_block_has_a_budget_of_its_own_and_each_of_its_layers_too():
    torch.manual_seed(0)
    block = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU())
    model = nn.Sequential(block, nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2))
    gates = attach_gates(model, torch.randn(2, 4))
    budgets = Budgets([Constraint(0.5, within="0"), Constraint(0.7, within="0", each_layer=True)], gates)
    assert budgets.names == ["params/0", "params/0.0", "params/0.2"]
    assert budgets.cost.total.tolist() == [4 * 6 + 6 + 6 * 5 + 5, 4 * 6 + 6, 6 * 5 + 5]
    names = dict.fromkeys(["0", "0.0", "0.2"])
    assert list(names) == [name.removeprefix("params/") for name in budgets.names]


@pytest.mark.parametrize("path", ["fc9", "conv", "fc1.weight.x", "model", "fc1."])
@pytest.mark.parametrize("each_layer", [False, True])
def test_an_unknown_layer_is_refused_and_the_known_ones_are_named(path, each_layer):
    _, gates = gated(lenet)
    with pytest.raises(BudgetError, match=f"within: no gated layer at '{path}'; the gated layers are conv1, conv2, fc"):
        lzero.Solver(gates, constraints=[Constraint(0.5, within=path, each_layer=each_layer)], anneal_steps=1)


def test_layerwise_gate_budgets_hold_where_there_are_gates_to_count():
    """conv1 has no gates on what it reads: a share of nothing would be NaN."""
    _, gates = gated(lenet)
    budgets = Budgets([Constraint(0.9, "gates", each_layer=True)], gates)
    assert budgets.names == ["gates/conv2", "gates/fc1", "gates/fc2"]
    assert torch.isfinite(budgets.cost.fraction(gates.floor())).all()
    with pytest.raises(BudgetError, match="no gated layer at 'conv1'; the gated layers are conv2, fc1, fc2"):
        Budgets([Constraint(0.5, "gates", within="conv1")], gates)


@pytest.mark.parametrize("measure", ["params", "macs", "gates"])
@pytest.mark.parametrize("each_layer", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_an_infeasible_target_is_refused_with_the_smallest_feasible_one(name, each_layer, measure):
    model, gates = gated(CASES[name])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    target, least = 1e-6, math.nan
    for _ in range(8):  # layer by layer, the message names one at a time
        try:
            budgets = Budgets([Constraint(target, measure, each_layer=each_layer)], gates)
            break
        except BudgetError as error:
            found = re.search(
                r"^(\S+): a density of .* cannot be met: .* ask for at least (0\.\d{6}|1\.000000)$", str(error)
            )
            assert found, str(error)
            assert target < float(found[2])
            target, part = float(found[2]), found[1]
            least = target
    floor = budgets.cost.fraction(gates.floor())
    assert bool((floor <= target).all()) and budgets.met(gates.floor())
    if not math.isnan(least):  # and nothing below it is
        with pytest.raises(BudgetError, match=f"^{part}: "):
            Budgets([Constraint(least - 2e-6, measure, each_layer=each_layer)], gates)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
def test_the_smallest_feasible_density_is_exactly_met_by_settling():
    model, gates = gated(mlp)
    least = float(Budgets([Constraint(1.0)], gates).cost.fraction(gates.floor()))
    lzero.Solver(gates, least, anneal_steps=1)
    assert lzero.purge(model).certificate.deployed == {"params": least}


def test_a_refused_budget_leaves_the_gates_to_the_earlier_solver():
    model, gates = gated(mlp)
    solver = lzero.Solver(gates, 0.9, anneal_steps=1)
    asked = gates.ledger["asked"].clone()
    with pytest.raises(BudgetError, match="cannot be met"):
        lzero.Solver(gates, 1e-3, anneal_steps=1)
    assert torch.equal(gates.ledger["asked"], asked)
    model(torch.zeros(2, 5)).sum().backward()
    solver.step()


def test_a_uniform_budget_where_no_groups_are_alike_is_refused_with_their_names():
    _, gates = gated(mlp)
    with pytest.raises(BudgetError, match=r"purge: uniform=True, but no two groups .* \(fc1 \(4\), fc2 \(3\)\)"):
        Budgets([Constraint(0.5, uniform=True)], gates, "purge")
    assert Budgets([Constraint(0.5)], gates).families == ()
