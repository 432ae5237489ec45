"""The evidence lower bound behind the trainer: against autograd, itself after a restart, and its errors."""

import math

import pytest
import torch
from plans import lenet, mlp
from torch.nn import functional as F

import lzero
from lzero.attach import attach_gates
from lzero.cost import Cost
from lzero.errors import SolverError
from lzero.gates import LogNormal
from lzero.solver import Elbo

FAST = 1024.0  # of plain descent: what a step moves the gates by, over this, is their gradient


class Problem:
    """A small regression with log-normal gates."""

    def __init__(self, case=mlp, estimator=None):
        torch.manual_seed(0)
        self.model, plan = case()
        self.gates = attach_gates(self.model, plan, estimator=estimator or LogNormal(), open_probability=0.9)
        self.x = torch.randn(16, *plan.example_inputs.shape[1:])
        self.y = torch.randn_like(self.model(self.x).detach())
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-2)

    def loss(self):
        return F.mse_loss(self.model(self.x), self.y)

    def train(self, elbo, steps):
        for _ in range(steps):
            torch.manual_seed(elbo.steps)
            self.optimizer.zero_grad()
            self.loss().backward()
            elbo.step()
            self.optimizer.step()

    def elbo(self, examples, **options):
        return Elbo(self.gates, examples, optimizer=torch.optim.SGD([self.gates.log_alpha], lr=FAST), **options)

    def pulled(self, elbo):
        """What a step of ``elbo`` adds to the gates' gradient of the loss; the gates then go back where they were."""
        self.optimizer.zero_grad()
        self.loss().backward()
        log_alpha = self.gates.log_alpha
        weights = [parameter.grad.clone() for parameter in self.model.parameters()]
        loss, before = log_alpha.grad.clone(), log_alpha.detach().clone()
        elbo.step()
        assert log_alpha.grad is None
        assert all(torch.equal(a, p.grad) for a, p in zip(weights, self.model.parameters(), strict=True))
        moved = (before - log_alpha.detach()) / FAST
        with torch.no_grad():
            log_alpha.copy_(before)
        return moved - loss

    def divergence(self, examples):
        """The gradient that the prior should have."""
        total = self.gates.estimator.divergence(self.gates.log_alpha).sum() / examples
        return torch.autograd.grad(total, self.gates.log_alpha)[0]


@pytest.mark.parametrize("case", [mlp, lenet])
def test_a_step_adds_the_gradient_of_the_divergence_per_example(case):
    problem = Problem(case)
    elbo = problem.elbo(70)
    assert problem.gates.log_alpha.shape == (2, len(problem.gates))
    assert torch.allclose(problem.pulled(elbo), problem.divergence(70), rtol=1e-4, atol=1e-6)
    assert elbo.steps == 1
    with pytest.warns(lzero.LzeroWarning, match="no budget was given, and whatever is open is shipped"):
        assert lzero.purge(problem.model).certificate.asked == {}


def test_the_prior_warms_up_linearly_and_then_stays():
    problem = Problem()
    elbo = problem.elbo(10, warm_up_steps=4)
    pull = problem.divergence(10)
    for weight in (0.0, 0.25, 0.5, 0.75, 1.0, 1.0):
        row = elbo.metrics()
        assert (row["multiplier"], row["multiplier_loss_units"]) == (weight, weight / 10)
        assert torch.allclose(problem.pulled(elbo), weight * pull, rtol=1e-4, atol=1e-6)
    assert Elbo(Problem().gates, examples=10).weight == 1.0


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
    parts.train(Elbo(parts.gates, 100, warm_up_steps=30), 20)
    resumed = Problem()
    resumed.model.load_state_dict(parts.model.state_dict())
    resumed.optimizer.load_state_dict(parts.optimizer.state_dict())
    second = Elbo(resumed.gates, 100, warm_up_steps=30)
    assert second.steps == 20 and second.weight == pytest.approx(20 / 30)
    resumed.train(second, 20)
    assert second.steps == 40
    one, two = whole.model.state_dict(), resumed.model.state_dict()
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_a_state_of_something_else_is_refused_and_changes_nothing():
    trained, problem = Problem(), Problem()
    trained.train(lzero.Penalty(trained.gates, 0.1), 2)
    elbo, before = Elbo(problem.gates, 9), problem.gates.log_alpha.detach().clone()
    with pytest.raises(SolverError, match="build the Solver as it was, or load before it is built"):
        problem.model.load_state_dict(trained.model.state_dict())
    assert elbo.steps == 0 and torch.equal(problem.gates.log_alpha, before)
    with pytest.raises(SolverError, match=r"trained for 2 steps by a Penalty .*; this one is an Elbo \(examples=9"):
        Elbo(trained.gates, 9)


def test_gates_without_a_prior_are_refused_and_stay_with_their_solver():
    problem = Problem(estimator=lzero.gates.HardConcrete())
    solver = lzero.Solver(problem.gates, 0.5, total_steps=10)
    with pytest.raises(SolverError, match=r"HardConcrete gates have no divergence .* estimator=LogNormal\(\), or use"):
        Elbo(problem.gates, 10)
    problem.train(solver, 1)
    assert solver.steps == 1


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


def test_a_step_before_backward_is_an_error_and_a_gradient_that_is_not_finite_is_skipped():
    problem = Problem()
    elbo = Elbo(problem.gates, 10)
    problem.gates.history.step()
    with pytest.raises(SolverError, match="the gates have no gradient: there was no forward since the last step"):
        elbo.step()
    assert elbo.steps == 0
    problem.train(elbo, 2)
    problem.loss().backward()
    problem.gates.log_alpha.grad[1, 2] = math.nan
    before = {name: tensor.clone() for name, tensor in problem.model.state_dict().items()}
    assert not elbo.step() and (elbo.steps, elbo.skipped) == (3, 1)
    after = problem.model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"lzero.steps", "lzero.skipped"}
