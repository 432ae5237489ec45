"""Scored gates in the user's loop: the gradient that ``step(loss, closure)`` gives is the enumerated one."""

import copy

import pytest
import torch
from gates.forwards import z_of
from plans import all_masks, batch_norm, mlp
from solver.problem import Kept
from torch import nn
from torch.nn import functional as F

import lzero
from lzero.attach import attach_gates
from lzero.cost import Cost
from lzero.errors import StructureError
from lzero.gates.bernoulli import AR, ARM, StraightThrough
from lzero.gates.deterministic import Deterministic
from lzero.gates.hard_concrete import HardConcrete

DOUBLE = torch.float64


class Problem:
    """A regression in float64 with seven gates, open with other probabilities each."""

    def __init__(self, estimator, case=lambda: mlp(input_gates=False)):
        torch.manual_seed(0)
        self.model, plan = case()
        self.model.double()
        self.gates = attach_gates(self.model, plan, estimator=estimator)
        with torch.no_grad():
            self.gates.log_alpha.copy_(torch.linspace(-1.5, 2, len(self.gates)))
            for parameter in self.model.parameters():
                parameter.mul_(2)
        self.x = torch.randn(6, *plan.example_inputs.shape[1:], dtype=DOUBLE)
        self.y = torch.randn(6, 2, dtype=DOUBLE)
        self.kept = Kept([self.gates.log_alpha])

    def loss(self):
        return F.mse_loss(self.model(self.x), self.y)

    def backward(self):
        self.model.zero_grad()
        self.gates.log_alpha.grad = None
        loss = self.loss()
        loss.backward()
        return loss

    def solver(self):
        """A solver whose gradient is kept; lambda is 0 in its first step."""
        return lzero.Solver(self.gates, 0.5, anneal_steps=10, optimizer=self.kept)

    def enumerated(self):
        """d E[loss] / d log_alpha over all masks."""
        phi = self.gates.log_alpha.detach().clone().requires_grad_()
        total = 0
        p = self.gates.estimator.probability(phi)
        for mask in torch.tensor(all_masks(len(phi))):
            with torch.no_grad(), self.gates.fixed(mask.double()):
                loss = self.loss()
            total = total + torch.where(mask, p, 1 - p).prod() * loss
        return torch.autograd.grad(total, phi)[0]


@pytest.mark.parametrize("estimator", [AR(), ARM(), ARM(scale=3.0), ARM(link="hard_sigmoid"), AR(0.5, "hard_sigmoid")])
def test_the_mean_gradient_of_the_loop_is_the_enumerated_one(estimator):
    problem = Problem(estimator)
    if estimator.link == "hard_sigmoid":
        with torch.no_grad():
            problem.gates.log_alpha.mul_(0.2)
    truth, found = problem.enumerated(), []
    assert truth.norm() > 0.05
    for seed in range(2_000 if estimator.losses == 1 else 500):
        torch.manual_seed(seed)
        loss = problem.backward()
        problem.gates.score(loss, problem.loss)
        found.append(problem.gates.log_alpha.grad.clone())
    found = torch.stack(found)
    error = found.std(0) / len(found) ** 0.5
    assert (error > 0).all()
    assert ((found.mean(0) - truth).abs() <= 4.5 * error).all()
    assert (truth.abs() > 4.5 * error).any()  # the test could tell it from 0


@pytest.mark.parametrize("trainer", ["solver", "penalty"])
def test_the_step_takes_the_score_and_then_pulls(trainer):
    problem = Problem(ARM())
    penalty = lzero.Penalty(problem.gates, 0.3, optimizer=problem.kept)
    built = problem.solver() if trainer == "solver" else penalty
    torch.manual_seed(3)
    loss = problem.backward()
    problem.gates.score(loss, problem.loss)
    score = problem.gates.log_alpha.grad.clone()
    torch.manual_seed(3)
    loss = problem.backward()
    assert not problem.gates.log_alpha.grad.any()  # binary gates get nothing from backward
    built.step(loss, problem.loss)
    pull = torch.zeros_like(score)
    if trainer == "penalty":
        cost = 0.3 * Cost(problem.gates).expected(problem.gates.probability()).sum()
        (pull,) = torch.autograd.grad(cost, problem.gates.log_alpha)
    assert score.any() and torch.allclose(problem.kept.gradient, score + pull, rtol=1e-10, atol=1e-15)


def test_the_weights_get_the_gradient_of_the_first_forward_alone():
    problem = Problem(ARM())
    solver = problem.solver()
    loss = problem.backward()
    z = z_of(problem.gates)
    solver.step(loss, problem.loss)
    weights = list(problem.model.parameters())
    with problem.gates.fixed(z):
        again = problem.loss()
    assert torch.equal(loss, again)
    for weight, expected in zip(weights, torch.autograd.grad(again, weights), strict=True):
        assert torch.equal(weight.grad, expected)


def test_the_closure_runs_once_without_gradients_and_with_the_opposite_gates():
    problem = Problem(ARM())
    gates = problem.gates
    solver = problem.solver()
    loss = problem.backward()
    u, held = gates.drawing.last.noise.clone(), z_of(gates).clone()
    expected = (u > torch.sigmoid(-gates.log_alpha.detach())).double()
    seen = []

    def closure():
        value = problem.loss()
        seen.append((torch.is_grad_enabled(), value.requires_grad, z_of(gates).clone()))
        return value

    state = torch.get_rng_state()
    solver.step(loss, closure)
    assert torch.equal(state, torch.get_rng_state())
    ((enabled, needs, z),) = seen
    assert not enabled and not needs and torch.equal(z, expected)
    assert torch.equal(z_of(gates), held)  # afterwards the draw of the forward holds again


@pytest.mark.parametrize("value", [torch.Tensor.item, torch.Tensor.detach])
def test_losses_may_be_numbers(value):
    found = []
    for convert in (lambda tensor: tensor, value):
        problem = Problem(ARM())
        torch.manual_seed(1)
        loss = problem.backward()
        problem.gates.score(convert(loss), lambda p=problem, c=convert: c(p.loss()))
        found.append(problem.gates.log_alpha.grad)
    assert torch.equal(*found)


def contents(problem, solver):
    grads = [p.grad.clone() for p in (problem.gates.log_alpha, *problem.model.parameters())]
    return grads, [solver.steps, solver.multipliers], problem.gates.history.scores, z_of(problem.gates).clone()


@pytest.mark.parametrize(
    ("estimator", "arguments", "message"),
    [
        (ARM(), (), r"ARM gates get their gradient from 2 values of the loss: call step\(loss, closure\)"),
        (ARM(), (1.0,), r"ARM gates .* with the loss of this forward and a function that computes it anew"),
        (AR(), (), r"AR gates get their gradient from 1 values of the loss: call step\(loss\) with the loss"),
    ],
)
def test_a_step_without_the_loss_says_the_way_out_and_changes_nothing(estimator, arguments, message):
    problem = Problem(estimator)
    solver = problem.solver()
    problem.backward()
    before = contents(problem, solver)
    with pytest.raises(StructureError, match=message):
        solver.step(*arguments)
    after = contents(problem, solver)
    assert all(torch.equal(a, b) for a, b in zip(before[0], after[0], strict=True))
    assert str(before[1]) == str(after[1]) and before[2] == after[2] and torch.equal(before[3], after[3])


def test_a_closure_that_fails_leaves_the_draw_and_the_gradient():
    problem = Problem(ARM())
    solver = problem.solver()
    loss = problem.backward()
    before = contents(problem, solver)

    def fails():
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        solver.step(loss, fails)
    after = contents(problem, solver)
    assert all(torch.equal(a, b) for a, b in zip(before[0], after[0], strict=True))
    assert before[2] == after[2] and torch.equal(before[3], after[3])


@pytest.mark.parametrize("estimator", [AR(), ARM()])
def test_there_is_nothing_to_score_without_a_training_forward(estimator):
    problem = Problem(estimator)
    with pytest.raises(StructureError, match="no draw to score; run the model's forward in train mode first"):
        problem.gates.score(1.0, lambda: 1.0)
    problem.backward()
    problem.model.eval()
    problem.loss()
    with pytest.raises(StructureError, match="no draw to score; run the model's forward in train mode first"):
        problem.gates.score(1.0, lambda: 1.0)
    with pytest.raises(StructureError, match="no draw to take the opposite of"), problem.gates.opposite():
        pass


def test_scores_accumulate_over_forwards_and_the_step_comes_at_the_end():
    problem = Problem(ARM())
    solver = problem.solver()
    apart = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        problem.gates.score(problem.backward() / 2, lambda: problem.loss() / 2)
        apart.append(problem.gates.log_alpha.grad.clone())
    problem.model.zero_grad()
    problem.gates.log_alpha.grad = None
    for seed in (1, 2):
        torch.manual_seed(seed)
        loss = problem.loss() / 2
        loss.backward()
        problem.gates.score(loss, lambda: problem.loss() / 2)
    solver.step()  # lambda is still 0
    assert torch.allclose(problem.kept.gradient, sum(apart), rtol=1e-12, atol=0)
    problem.backward()
    with pytest.raises(StructureError, match=r"call step\(loss, closure\)"):  # the next step needs its own
        solver.step()


def test_a_scaled_loss_and_a_closure_that_scales_give_a_scaled_score():
    found = []
    for scale in (1.0, 2.0**16):
        problem = Problem(ARM())
        torch.manual_seed(1)
        problem.gates.score(problem.backward() * scale, lambda p=problem, s=scale: p.loss() * s)
        found.append(problem.gates.log_alpha.grad / scale)  # what unscale_ does
    assert found[0].any() and torch.allclose(*found, rtol=1e-12, atol=0)


@pytest.mark.parametrize("estimator", [HardConcrete(), StraightThrough()])
@pytest.mark.parametrize("trainer", ["solver", "penalty"])
def test_other_estimators_ignore_the_loss_and_never_call_the_closure(estimator, trainer):
    def trained(with_loss):
        problem = Problem(estimator)
        gates = problem.gates
        built = lzero.Solver(gates, 0.4, total_steps=9) if trainer == "solver" else lzero.Penalty(gates, 0.3)
        optimizer = torch.optim.Adam(problem.model.parameters(), 1e-2)
        for _ in range(5):
            loss = problem.backward()
            built.step(*((loss, lambda: pytest.fail("called")) if with_loss else ()))
            optimizer.step()
        return [gates.log_alpha, *problem.model.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(trained(True), trained(False), strict=True))


def test_batch_statistics_are_updated_by_the_second_forward_too():
    problem = Problem(ARM(), batch_norm)
    loss = problem.backward()
    assert int(problem.model.bn1.num_batches_tracked) == 1
    problem.gates.score(loss, problem.loss)
    assert int(problem.model.bn1.num_batches_tracked) == 2


@pytest.mark.parametrize(
    ("estimator", "worst"), [(ARM(), 0.15), (AR(), 0.3), (StraightThrough(), 0.1), (Deterministic(), 0.1)]
)
def test_a_training_on_digits_lands_near_its_target_and_ships_within_it(estimator, worst):
    datasets = pytest.importorskip("sklearn.datasets")
    data = datasets.load_digits()
    x, y = torch.tensor(data.data / 16, dtype=torch.float32), torch.tensor(data.target)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    gates = attach_gates(model, x[:2], estimator=estimator)
    steps = 500
    solver = lzero.Solver(gates, 0.3, total_steps=steps)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(steps):
        batch = torch.randint(len(x), (64,))

        def closure(batch=batch):
            return F.cross_entropy(model(x[batch]), y[batch])

        optimizer.zero_grad()
        loss = closure()
        loss.backward()
        solver.step(loss, closure)
        optimizer.step()
    deployed = solver.metrics()["deployed"]
    assert abs(deployed - 0.3) < 0.05
    model.eval()
    plain = lzero.purge(model, settle=False)
    torch.testing.assert_close(plain.model(x), model(x), rtol=1e-4, atol=1e-4)
    shipped = lzero.purge(copy.deepcopy(model))
    assert 0 <= 0.3 - shipped.certificate.deployed["params"] < 0.03
    assert (shipped.model(x).argmax(1) != y).double().mean() < worst  # by chance alone 0.9


def test_held_gates_are_not_scored_and_loops_that_score_go_on():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    gates = attach_gates(model, torch.randn(2, 6), estimator=ARM())
    gates.hold(gates.open_mask())
    loss = model(torch.randn(4, 6)).sum()
    gates.score(loss, lambda: loss)
    assert gates.log_alpha.grad is None
