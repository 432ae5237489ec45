"""The evidence lower bound behind the seam: against autograd, and its errors."""

import math

import pytest
import torch
from plans import lenet, mlp
from solver.problem import Problem

import lzero
from lzero.certificate import asked_of
from lzero.cost import Cost
from lzero.errors import SolverError
from lzero.gates import LogNormal
from lzero.solver import Elbo


def problem_of(case=mlp, **options):
    return Problem(case, **{"estimator": LogNormal(), "dtype": torch.float64, **options})


def built(problem, **options):
    """An Elbo whose gradient the problem keeps."""
    return Elbo(problem.gates, optimizer=problem.kept, **options)


def written(problem):
    """The gradient of the summed divergence, by autograd."""
    total = problem.gates.estimator.divergence(problem.gates.log_alpha).sum()
    return torch.autograd.grad(total, problem.gates.log_alpha)[0]


@pytest.mark.parametrize("case", [mlp, lenet])
def test_a_step_adds_the_gradient_of_the_divergence_per_example(case):
    problem = problem_of(case)
    elbo = built(problem, examples=70)
    found, _ = problem.pull(elbo)
    assert problem.gates.log_alpha.shape == (2, len(problem.gates)) == found.shape
    assert torch.allclose(found, written(problem) / 70, rtol=1e-9, atol=1e-13)
    assert elbo.steps == 1 and asked_of(problem.gates) == ()


def test_the_prior_warms_up_linearly_and_then_stays():
    problem = problem_of()
    elbo = built(problem, examples=10, warm_up_steps=4)
    pull = written(problem) / 10
    for weight in (0.0, 0.25, 0.5, 0.75, 1.0, 1.0):
        row = elbo.metrics()
        assert (row["multiplier"], row["multiplier_loss_units"]) == (weight, weight / 10)
        assert torch.allclose(problem.pull(elbo)[0], weight * pull, rtol=1e-9, atol=1e-13)
    assert Elbo(problem.gates, examples=10, fresh=True).weight == 1.0


@pytest.mark.parametrize("measure", ["params", "macs", "gates"])
def test_metrics_have_the_divergence_and_the_densities(measure):
    problem = problem_of(lenet)
    row = Elbo(problem.gates, 50, measure=measure).metrics()
    cost, gates = Cost(problem.gates, measure), problem.gates
    assert row["divergence"] == pytest.approx(LogNormal().divergence(gates.log_alpha).sum().item(), rel=1e-6)
    assert row["expected"] == pytest.approx(cost.fraction(gates.probability()).item(), rel=1e-9)
    assert row["deployed"] == float(cost.fraction(gates.open_mask())) == 1.0
    assert all(type(value) is float for value in row.values())


def test_gates_without_a_prior_are_refused_and_keep_their_solver():
    problem = problem_of(estimator=None)
    solver = lzero.Solver(problem.gates, 0.5, anneal_steps=1)
    with pytest.raises(SolverError, match=r"HardConcrete gates have no divergence .* estimator=LogNormal\(\), or use"):
        Elbo(problem.gates, 10)
    problem.train(solver, 1)


@pytest.mark.parametrize("wrong", [0, -1, 2.5, True, None, math.nan])
def test_malformed_numbers_are_refused(wrong):
    with pytest.raises(SolverError, match="examples: expected the size of the training set, a whole number >= 1"):
        Elbo(problem_of().gates, wrong)
    if wrong != 0:
        with pytest.raises(SolverError, match="warm_up_steps: expected a number of optimizer steps, a whole number"):
            Elbo(problem_of().gates, 10, warm_up_steps=wrong)
