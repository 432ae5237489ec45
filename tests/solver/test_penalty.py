"""The penalty of a fixed coefficient against autograd, hand-written gradients, and itself after a restart."""

import math

import pytest
import torch
from plans import lenet, mlp
from solver.problem import Problem

import lzero
from lzero.cost import Cost
from lzero.errors import BudgetError, SolverError

DOUBLE = torch.float64


def built(problem, coefficient, **options):
    """A penalty whose gradient the problem keeps."""
    return lzero.Penalty(problem.gates, coefficient, optimizer=problem.kept, **options)


@pytest.mark.parametrize("measure", ["params", "macs", "gates"])
def test_the_penalty_adds_the_gradient_of_the_expected_fraction(measure):
    problem = Problem(lenet, dtype=DOUBLE)
    penalty = built(problem, 0.3, measure=measure)
    torch.manual_seed(9)
    problem.backward()
    penalty.step()
    weights = [p.grad.clone() for p in problem.model.parameters()]
    problem.optimizer.zero_grad()
    torch.manual_seed(9)
    expected = Cost(problem.gates, measure).expected(problem.gates.probability())
    (problem.loss() + 0.3 * expected.sum()).backward()
    torch.testing.assert_close(problem.kept.gradient, problem.gates.log_alpha.grad, rtol=1e-9, atol=1e-14)
    for one, parameter in zip(weights, problem.model.parameters(), strict=True):
        assert torch.equal(one, parameter.grad)
    assert penalty.metrics()["multiplier"] == 0.3 and penalty.steps == 1


@pytest.mark.parametrize("wrong", [-0.1, math.nan, math.inf, "1", None, True])
def test_malformed_coefficients_are_refused(wrong):
    with pytest.raises(BudgetError, match=r"coefficient: expected a finite number >= 0, such as 0\.1, found"):
        lzero.Penalty(Problem().gates, wrong)


@pytest.mark.parametrize("measure", ["params", "macs", "gates"])
def test_coefficients_by_layer_add_the_gradient_of_each_layers_own_fraction(measure):
    problem = Problem(lenet, dtype=DOUBLE)
    coefficients = {"fc1": 0.3, "conv1" if measure != "gates" else "conv2": 0.02}
    found, _ = problem.pull(built(problem, coefficients, measure=measure))
    truth, p = torch.zeros(()), problem.gates.probability()
    for path, coefficient in coefficients.items():
        fraction = Cost(problem.gates, measure, [(path,)]).expected(p)
        truth = truth + coefficient * fraction.sum()
    (pull,) = torch.autograd.grad(truth, problem.gates.log_alpha)
    assert torch.allclose(found, pull, rtol=1e-9, atol=1e-13)
    assert pull.any()


def test_coefficients_by_layer_are_the_hand_written_gradient():
    """fc2 of the units MLP: (p_1 .. p_4 of its columns) x (its 3 rows) + 3 biases, of which 15 with all open."""
    problem = Problem(lambda: mlp(input_gates=False), dtype=DOUBLE)
    found, _ = problem.pull(built(problem, {"fc2": 0.7}))
    p = problem.gates.split(problem.gates.probability().detach().double())
    columns = 0.7 / 15 * p["fc2"].sum() * torch.ones(4, dtype=DOUBLE)  # d / d p of fc1's units
    rows = 0.7 / 15 * (p["fc1"].sum() + 1) * torch.ones(3, dtype=DOUBLE)  # and of its own, which have a bias each
    q = torch.cat([p["fc1"], p["fc2"]])
    expected = torch.cat([columns, rows]) * q * (1 - q)
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-13)


def test_one_coefficient_for_the_root_is_that_of_the_whole_model():
    pulls = []
    for coefficient in (0.4, {"": 0.4}):
        problem = Problem(lenet)
        penalty = built(problem, coefficient)
        pulls.append(problem.pull(penalty)[0])
        assert penalty.metrics()["multiplier"] == penalty.metrics()["multiplier_loss_units"] == 0.4
    assert torch.equal(*pulls)


def test_coefficients_by_layer_are_recorded_and_resumed_by_name():
    problem = Problem(lenet)
    penalty = lzero.Penalty(problem.gates, {"fc1": 0.3, "conv1": 0.02})
    row = penalty.metrics()
    assert row["params/fc1:multiplier"] == row["params/fc1:multiplier_loss_units"] == 0.3
    assert row["params/conv1:multiplier"] == 0.02 and "multiplier" not in row
    problem.train(penalty, 5)
    other = lzero.Penalty(problem.gates, {"conv1": 0.02, "fc1": 0.3})  # in another order
    assert other.steps == 5 and other.coefficient == {"fc1": 0.3, "conv1": 0.02}
    for wrong in (0.3, {"fc1": 0.3}, {"fc1": 0.3, "conv1": 0.03}):
        with pytest.raises(
            SolverError, match=r"trained for 5 steps by a Penalty \(coefficient=\{.*; this one is a Pen"
        ):
            lzero.Penalty(problem.gates, wrong)
    assert other.steps == 5


@pytest.mark.parametrize(
    ("coefficient", "message"),
    [
        ({"fc9": 0.1}, "coefficient: no gated layer at 'fc9'; the gated layers are conv1, conv2, fc1, fc2"),
        ({}, "coefficient: expected module path -> number, found {}"),
        ({"fc1": -1.0}, r"coefficient\['fc1'\]: expected a finite number >= 0, such as 0\.1, found -1\.0"),
        ({"fc1": None}, r"coefficient\['fc1'\]: expected a finite number"),
        ({1: 0.1}, "coefficient: expected module path -> number, found {1: 0.1}"),
    ],
)
def test_malformed_coefficients_by_layer_are_refused(coefficient, message):
    problem = Problem(lenet)
    solver = lzero.Solver(problem.gates, 0.5, anneal_steps=1)
    with pytest.raises(BudgetError, match=message):
        lzero.Penalty(problem.gates, coefficient)
    problem.train(solver, 1)  # the gates are still its own
