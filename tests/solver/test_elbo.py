"""The evidence lower bound behind the seam: against autograd, itself after a restart, and its errors."""

import math

import pytest
import torch
from plans import lenet, mlp
from torch.nn import functional as F

import lzero
from lzero.cost import Cost
from lzero.errors import NonFiniteError, SolverError
from lzero.gates import LogNormal
from lzero.solver import Elbo
from lzero.structure.attach import attach_gates, parameter_groups


class Problem:
    """A small regression with log-normal gates."""

    def __init__(self, case=mlp, estimator=None):
        torch.manual_seed(0)
        self.model, plan = case()
        self.gates = attach_gates(self.model, plan, estimator=estimator or LogNormal(), open_probability=0.9)
        self.x = torch.randn(16, *plan.example_inputs.shape[1:])
        self.y = torch.randn_like(self.model(self.x).detach())
        self.optimizer = torch.optim.Adam(parameter_groups(self.model, 1e-2, 5e-2))

    def loss(self):
        return F.mse_loss(self.model(self.x), self.y)

    def train(self, elbo, steps):
        for _ in range(steps):
            torch.manual_seed(elbo.steps)
            self.optimizer.zero_grad()
            self.loss().backward()
            elbo.step()
            self.optimizer.step()

    def gradients(self, seam=None, extra=None):
        torch.manual_seed(9)
        self.optimizer.zero_grad()
        loss = self.loss()
        (loss if extra is None else loss + extra).backward()
        if seam is not None:
            seam.step()
        return [parameter.grad.clone() for parameter in self.model.parameters()]


@pytest.mark.parametrize("case", [mlp, lenet])
def test_a_step_adds_the_gradient_of_the_divergence_per_example(case):
    problem = Problem(case)
    elbo = Elbo(problem.gates, examples=70)
    found = problem.gradients(elbo)
    written = problem.gates.estimator.divergence(problem.gates.log_alpha).sum() / 70
    expected = problem.gradients(extra=written)
    assert problem.gates.log_alpha.shape == (2, len(problem.gates))
    for one, two in zip(found, expected, strict=True):
        assert torch.allclose(one, two, rtol=1e-5, atol=1e-8)
    assert elbo.steps == 1 and len(problem.gates.budgets) == 0


def test_the_prior_warms_up_linearly_and_then_stays():
    problem = Problem()
    elbo = Elbo(problem.gates, examples=10, warm_up_steps=4)
    plain = problem.gradients()
    (pull,) = torch.autograd.grad(LogNormal().divergence(problem.gates.log_alpha).sum() / 10, problem.gates.log_alpha)
    position = [p is problem.gates.log_alpha for p in problem.model.parameters()].index(True)
    for weight in (0.0, 0.25, 0.5, 0.75, 1.0, 1.0):
        row = elbo.metrics()
        assert (row["multiplier"], row["multiplier_loss_units"]) == (weight, weight / 10)
        found = problem.gradients(elbo)[position]
        assert torch.allclose(found, plain[position] + weight * pull, rtol=1e-5, atol=1e-7)
    assert Elbo(problem.gates, examples=10).weight == 1.0


@pytest.mark.parametrize("measure", ["params", "macs", "gates"])
def test_metrics_have_the_divergence_and_the_densities(measure):
    problem = Problem(lenet)
    row = Elbo(problem.gates, 50, measure=measure).metrics()
    cost, gates = Cost(problem.gates, measure), problem.gates
    assert row["divergence"] == pytest.approx(LogNormal().divergence(gates.log_alpha).sum().item(), rel=1e-6)
    assert row["expected"] == pytest.approx(cost.fraction(gates.probability()).item(), rel=1e-9)
    assert row["deployed"] == float(cost.fraction(gates.open_mask())) == 1.0
    assert all(type(value) is float for value in row.values())


def test_twenty_steps_and_twenty_more_are_forty():
    whole, parts = Problem(), Problem()
    whole.train(Elbo(whole.gates, 100, warm_up_steps=30), 40)
    first = Elbo(parts.gates, 100, warm_up_steps=30)
    parts.train(first, 20)
    second = Elbo(parts.gates, 7)
    second.load_state_dict(first.state_dict())
    parts.train(second, 20)
    assert second.state_dict() == {"steps": 40, "examples": 100, "warm_up_steps": 30}
    for one, two in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_state_of_something_else_is_refused_and_changes_nothing():
    elbo = Elbo(Problem().gates, 9)
    with pytest.raises(SolverError, match="Elbo: expected the entries steps, examples and warm_up_steps, found"):
        elbo.load_state_dict(lzero.Penalty(Problem().gates, 0.1).state_dict())
    assert elbo.state_dict() == {"steps": 0, "examples": 9, "warm_up_steps": 0}


def test_gates_without_a_prior_are_refused_and_keep_their_budgets():
    gates = Problem(estimator=lzero.gates.HardConcrete()).gates
    solver = lzero.Solver(gates, 0.5)
    with pytest.raises(SolverError, match=r"HardConcrete gates have no divergence .* estimator=LogNormal\(\), or use"):
        Elbo(gates, 10)
    assert gates.budgets is solver.budgets


@pytest.mark.parametrize("wrong", [0, -1, 2.5, True, None, math.nan])
def test_malformed_numbers_are_refused(wrong):
    with pytest.raises(SolverError, match="examples: expected the size of the training set, a whole number >= 1"):
        Elbo(Problem().gates, wrong)
    if wrong != 0:
        with pytest.raises(SolverError, match="warm_up_steps: expected a number of optimizer steps, a whole number"):
            Elbo(Problem().gates, 10, warm_up_steps=wrong)


def test_something_that_is_no_gates_is_refused():
    with pytest.raises(SolverError, match=r"expected the Gates that lzero\.attach_gates returned, found"):
        Elbo(Problem().model, 10)


def test_a_step_before_backward_and_a_gradient_that_is_not_finite_are_errors():
    problem = Problem()
    elbo = Elbo(problem.gates, 10)
    with pytest.raises(SolverError, match=r"log_alpha has no gradient: call step\(\) after loss\.backward\(\)"):
        elbo.step()
    problem.gradients()
    problem.gates.log_alpha.grad[1, 2] = math.nan
    before = problem.gates.log_alpha.grad.clone()
    with pytest.raises(NonFiniteError, match="nothing was changed"):
        elbo.step()
    assert torch.equal(before.nan_to_num(7), problem.gates.log_alpha.grad.nan_to_num(7)) and elbo.steps == 0
