"""The penalty of a fixed coefficient against autograd, hand-written gradients, and itself after a restart."""

import math

import pytest
import torch
from plans import lenet, mlp
from solver.problem import Problem

import lzero
from lzero.cost import Cost
from lzero.errors import BudgetError, SolverError


@pytest.mark.parametrize("measure", ["params", "macs", "gates"])
def test_the_penalty_adds_the_gradient_of_the_expected_fraction(measure):
    problem = Problem(lenet)
    penalty = lzero.Penalty(problem.gates, 0.3, measure=measure)
    torch.manual_seed(9)
    problem.backward()
    penalty.step()
    found = [p.grad.clone() for p in problem.model.parameters()]
    problem.optimizer.zero_grad()
    torch.manual_seed(9)
    expected, _ = Cost(problem.gates, measure).linearise(problem.gates.probability())
    (problem.loss() + 0.3 * expected.sum()).backward()
    for one, parameter in zip(found, problem.model.parameters(), strict=True):
        assert torch.allclose(one, parameter.grad, rtol=1e-5, atol=1e-8)
    assert penalty.metrics()["multiplier"] == 0.3 and penalty.steps == 1
    other = lzero.Penalty(problem.gates, 9.0)
    other.load_state_dict(penalty.state_dict())
    assert (other.coefficient, other.steps) == (0.3, 1)


@pytest.mark.parametrize("wrong", [-0.1, math.nan, math.inf, "1", None, True])
def test_malformed_coefficients_are_refused(wrong):
    with pytest.raises(BudgetError, match=r"coefficient: expected a finite number >= 0, such as 0\.1, found"):
        lzero.Penalty(Problem().gates, wrong)


@pytest.mark.parametrize("measure", ["params", "macs", "gates"])
def test_coefficients_by_layer_add_the_gradient_of_each_layers_own_fraction(measure):
    problem = Problem(lenet)
    coefficients = {"fc1": 0.3, "conv1" if measure != "gates" else "conv2": 0.02}
    penalty = lzero.Penalty(problem.gates, coefficients, measure=measure)
    problem.backward()
    before = problem.gates.log_alpha.grad.clone()
    penalty.step()
    truth, p = torch.zeros(()), problem.gates.probability()
    for path, coefficient in coefficients.items():
        fraction, _ = Cost(problem.gates, measure, [(path,)]).linearise(p)
        truth = truth + coefficient * fraction.sum()
    (pull,) = torch.autograd.grad(truth, problem.gates.log_alpha)
    assert torch.allclose(problem.gates.log_alpha.grad - before, pull, rtol=1e-4, atol=1e-7)
    assert pull.any()


def test_coefficients_by_layer_are_the_hand_written_gradient():
    """fc2 of the units MLP: (p_1 .. p_4 of its columns) x (its 3 rows) + 3 biases, of which 15 with all open."""
    problem = Problem(lambda: mlp(input_gates=False))
    penalty = lzero.Penalty(problem.gates, {"fc2": 0.7})
    problem.backward()
    before = problem.gates.log_alpha.grad.clone()
    penalty.step()
    p = problem.gates.split(problem.gates.probability().detach().double())
    columns = 0.7 / 15 * p["fc2"].sum() * torch.ones(4)  # d / d p of fc1's units
    rows = 0.7 / 15 * (p["fc1"].sum() + 1) * torch.ones(3)  # and of its own, which have a bias each
    q = torch.cat([p["fc1"], p["fc2"]])
    expected = torch.cat([columns, rows]) * q * (1 - q)
    assert torch.allclose((problem.gates.log_alpha.grad - before).double(), expected, rtol=1e-4, atol=1e-7)


def test_one_coefficient_for_the_root_is_that_of_the_whole_model():
    pulls = []
    for coefficient in (0.4, {"": 0.4}):
        problem = Problem(lenet)
        penalty = lzero.Penalty(problem.gates, coefficient)
        problem.backward()
        penalty.step()
        pulls.append(problem.gates.log_alpha.grad)
        assert penalty.metrics()["multiplier"] == penalty.metrics()["multiplier_loss_units"] == 0.4
    assert torch.equal(*pulls)


def test_coefficients_by_layer_are_recorded_and_resumed_by_name():
    gates = Problem(lenet).gates
    penalty = lzero.Penalty(gates, {"fc1": 0.3, "conv1": 0.02})
    row = penalty.metrics()
    assert row["params/fc1:multiplier"] == row["params/fc1:multiplier_loss_units"] == 0.3
    assert row["params/conv1:multiplier"] == 0.02 and "multiplier" not in row
    other = lzero.Penalty(gates, {"fc1": 9.0, "conv1": 8.0})
    other.load_state_dict({**penalty.state_dict(), "steps": 5})
    assert other.steps == 5 and other.coefficient == {"fc1": 0.3, "conv1": 0.02} and other.metrics() == row
    other.load_state_dict({"steps": 5, "coefficient": {"conv1": 0.02, "fc1": 0.3}})
    assert list(other.coefficient) == ["fc1", "conv1"] and other.metrics() == row
    for wrong in (0.3, {"fc1": 0.3}):
        with pytest.raises(SolverError, match=r"the saved coefficient is .*, this one \{.*\}; build the Penalty as"):
            other.load_state_dict({"steps": 7, "coefficient": wrong})
    with pytest.raises(SolverError, match=r"the saved coefficient is \{.*, this one 0\.1"):
        lzero.Penalty(gates, 0.1).load_state_dict(penalty.state_dict())
    assert other.steps == 5


@pytest.mark.parametrize(
    ("coefficient", "message"),
    [
        ({"fc9": 0.1}, "coefficient: no gated layer at 'fc9'; the gated layers are conv1, conv2, fc1, fc2"),
        ({}, "coefficient: expected at least one module path, found an empty mapping"),
        ({"fc1": -1.0}, r"coefficient\['fc1'\]: expected a finite number >= 0, such as 0\.1, found -1\.0"),
        ({"fc1": None}, r"coefficient\['fc1'\]: expected a finite number"),
    ],
)
def test_malformed_coefficients_by_layer_are_refused(coefficient, message):
    problem = Problem(lenet)
    solver = lzero.Solver(problem.gates, 0.5)
    with pytest.raises(BudgetError, match=message):
        lzero.Penalty(problem.gates, coefficient)
    assert problem.gates.budgets is solver.budgets
