"""The penalty of a fixed coefficient against autograd, hand-written gradients, and itself after a restart."""

import copy
import math

import pytest
import torch
from plans import lenet, mlp
from solver.problem import Problem, equal

import lzero
from lzero.cost import Cost
from lzero.errors import BudgetError, SolverError

FAST = 1024.0  # of plain descent: what a step moves the gates by, over this, is their gradient


def penalty_of(problem, coefficient, **options):
    return lzero.Penalty(
        problem.gates, coefficient, optimizer=torch.optim.SGD([problem.gates.log_alpha], lr=FAST), **options
    )


def pulled(problem, penalty):
    """What a step of ``penalty`` adds to the gates' gradient of the loss."""
    problem.backward()
    loss, before = problem.gates.log_alpha.grad.clone(), problem.gates.log_alpha.detach().clone()
    penalty.step()
    assert problem.gates.log_alpha.grad is None and penalty.steps == 1
    return (before - problem.gates.log_alpha.detach()) / FAST - loss


@pytest.mark.parametrize("measure", ["params", "macs", "gates"])
def test_the_penalty_adds_the_gradient_of_the_expected_fraction(measure):
    problem = Problem(lenet)
    penalty = penalty_of(problem, 0.3, measure=measure)
    expected = Cost(problem.gates, measure).expected(problem.gates.probability())
    (pull,) = torch.autograd.grad(0.3 * expected.sum(), problem.gates.log_alpha)
    assert torch.allclose(pulled(problem, penalty), pull, rtol=1e-4, atol=1e-7) and pull.any()
    assert penalty.metrics()["multiplier"] == 0.3


def test_the_gates_move_by_adam_and_the_weights_see_the_loss_alone():
    problem = Problem(lenet)
    penalty = lzero.Penalty(problem.gates, 0.3, gate_lr=0.25)
    problem.backward()
    grads, before = [p.grad.clone() for p in problem.model.parameters()], problem.gates.log_alpha.detach().clone()
    assert bool(penalty.step())
    assert equal(grads, [p.grad for p in problem.model.parameters()])
    moved = (problem.gates.log_alpha.detach() - before).abs()
    assert torch.allclose(moved, torch.full_like(moved, 0.25), rtol=1e-3)  # Adam's first step is its rate


@pytest.mark.parametrize(("steps", "rate"), [(None, 0.02), (10_000, 0.02), (120, 0.2)])
def test_the_default_rate_follows_the_length_of_the_training(steps, rate):
    problem = Problem(lenet)
    before = problem.gates.log_alpha.detach().clone()
    problem.train(lzero.Penalty(problem.gates, 1.0, total_steps=steps), 1)
    assert float((problem.gates.log_alpha.detach() - before).abs().max()) == pytest.approx(rate, rel=1e-3)


@pytest.mark.parametrize("wrong", [-0.1, math.nan, math.inf, "1", None, True])
def test_malformed_coefficients_are_refused(wrong):
    with pytest.raises(BudgetError, match=r"coefficient: expected a finite number >= 0, such as 0\.1, found"):
        lzero.Penalty(Problem().gates, wrong)


@pytest.mark.parametrize(("options", "message"), [({"gate_lr": 0}, "gate_lr"), ({"total_steps": 0}, "total_steps")])
def test_malformed_rates_are_refused(options, message):
    with pytest.raises(SolverError, match=f"{message}: expected a positive number"):
        lzero.Penalty(Problem().gates, 0.1, **options)


@pytest.mark.parametrize("measure", ["params", "macs", "gates"])
def test_coefficients_by_layer_add_the_gradient_of_each_layers_own_fraction(measure):
    problem = Problem(lenet)
    coefficients = {"fc1": 0.3, "conv1" if measure != "gates" else "conv2": 0.02}
    penalty = penalty_of(problem, coefficients, measure=measure)
    truth, p = torch.zeros(()), problem.gates.probability()
    for path, coefficient in coefficients.items():
        truth = truth + coefficient * Cost(problem.gates, measure, [(path,)]).expected(p).sum()
    (pull,) = torch.autograd.grad(truth, problem.gates.log_alpha)
    assert torch.allclose(pulled(problem, penalty), pull, rtol=1e-4, atol=1e-7)
    assert pull.any()


def test_coefficients_by_layer_are_the_hand_written_gradient():
    """fc2 of the units MLP: (p_1 .. p_4 of its columns) x (its 3 rows) + 3 biases, of which 15 with all open."""
    problem = Problem(lambda: mlp(input_gates=False))
    penalty = penalty_of(problem, {"fc2": 0.7})
    p = problem.gates.split(problem.gates.probability().detach().double())
    found = pulled(problem, penalty)
    columns = 0.7 / 15 * p["fc2"].sum() * torch.ones(4)  # d / d p of fc1's units
    rows = 0.7 / 15 * (p["fc1"].sum() + 1) * torch.ones(3)  # and of its own, which have a bias each
    q = torch.cat([p["fc1"], p["fc2"]])
    expected = torch.cat([columns, rows]) * q * (1 - q)
    assert torch.allclose(found.double(), expected, rtol=1e-4, atol=1e-7)


def test_one_coefficient_for_the_root_is_that_of_the_whole_model():
    moved = []
    for coefficient in (0.4, {"": 0.4}):
        problem = Problem(lenet)
        penalty = lzero.Penalty(problem.gates, coefficient)
        problem.train(penalty, 3)
        moved.append(problem.state())
        assert penalty.metrics()["multiplier"] == penalty.metrics()["multiplier_loss_units"] == 0.4
    assert equal(*moved)


def test_coefficients_by_layer_are_recorded_and_resumed_by_name():
    whole, parts = Problem(lenet), Problem(lenet)
    penalty = lzero.Penalty(whole.gates, {"fc1": 0.3, "conv1": 0.02})
    row = penalty.metrics()
    assert row["params/fc1:multiplier"] == row["params/fc1:multiplier_loss_units"] == 0.3
    assert row["params/conv1:multiplier"] == 0.02 and "multiplier" not in row
    torch.manual_seed(1)
    whole.train(penalty, 5)
    saved = {name: tensor.clone() for name, tensor in whole.model.state_dict().items()}
    other = lzero.Penalty(parts.gates, {"conv1": 0.02, "fc1": 0.3})
    parts.model.load_state_dict(saved)
    assert other.metrics() == penalty.metrics() and other.steps == 5
    parts.optimizer.load_state_dict(copy.deepcopy(whole.optimizer.state_dict()))
    for problem, trainer in ((whole, penalty), (parts, other)):
        torch.manual_seed(2)
        problem.train(trainer, 5)
    assert equal(whole.state(), parts.state()) and other.steps == 10


@pytest.mark.parametrize("wrong", [0.3, {"fc1": 0.3}, {"fc1": 0.3, "conv1": 0.03}], ids=str)
def test_gates_that_were_trained_at_another_coefficient_are_refused(wrong):
    trained = Problem(lenet)
    trained.train(lzero.Penalty(trained.gates, {"fc1": 0.3, "conv1": 0.02}), 5)
    saved = {name: tensor.clone() for name, tensor in trained.model.state_dict().items()}
    problem = Problem(lenet)
    penalty = lzero.Penalty(problem.gates, wrong)
    with pytest.raises(SolverError, match="build the Solver as it was, or load before it is built"):
        problem.model.load_state_dict(saved)
    assert penalty.steps == 0 and equal(problem.state()[-1:], Problem(lenet).state()[-1:])
    fresh = Problem(lenet)
    fresh.model.load_state_dict(saved)
    with pytest.raises(SolverError, match=r"trained for 5 steps by a Penalty \(coefficient=.*; this one is a Penalty"):
        lzero.Penalty(fresh.gates, wrong)
    assert lzero.Penalty(fresh.gates, wrong, fresh=True).steps == 0


@pytest.mark.parametrize(
    ("coefficient", "message"),
    [
        ({"fc9": 0.1}, "coefficient: no gated layer at 'fc9'; the gated layers are conv1, conv2, fc1, fc2"),
        ({}, "coefficient: expected module path -> number, found {}"),
        ({"fc1": -1.0}, r"coefficient\['fc1'\]: expected a finite number >= 0, such as 0\.1, found -1\.0"),
        ({"fc1": None}, r"coefficient\['fc1'\]: expected a finite number"),
    ],
)
def test_malformed_coefficients_by_layer_are_refused_and_leave_the_gates_to_their_solver(coefficient, message):
    problem = Problem(lenet)
    solver = lzero.Solver(problem.gates, 0.5, total_steps=10)
    with pytest.raises(BudgetError, match=message):
        lzero.Penalty(problem.gates, coefficient)
    problem.train(solver, 1)
    assert solver.steps == 1


def test_what_is_closed_by_a_penalty_is_shipped_as_it_is():
    problem = Problem(lambda: mlp((20, 30, 20, 3)))
    problem.y = torch.randn(16, 3)
    penalty = lzero.Penalty(problem.gates, 30.0, gate_lr=0.3)
    problem.train(penalty, 60)
    deployed = penalty.metrics()["deployed"]
    with pytest.warns(lzero.LzeroWarning, match="no budget was given, and whatever is open is shipped"):
        certificate = lzero.purge(problem.model).certificate
    assert certificate.deployed["params"] == deployed < 0.5 and certificate.asked == {}


def test_nothing_of_a_solver_is_left_where_a_penalty_begins_afresh():
    problem = Problem(lenet)
    problem.train(lzero.Solver(problem.gates, 0.5, total_steps=10), 3)
    penalty = lzero.Penalty(problem.gates, 0.1, fresh=True)
    adam = {f"optimizer.{name}" for name in ("step", "exp_avg", "exp_avg_sq")}
    assert set(problem.gates.ledger) == {"asked", "steps", "skipped", "optimizer_lr"} | adam
    assert not any(problem.gates.ledger[name].any() for name in adam)
    problem.train(penalty, 1)
    assert not {"multipliers", "norms", "weight"} & set(problem.gates.ledger)
