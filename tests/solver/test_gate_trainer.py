"""The step that all trainers share: what it skips and counts, scales, holds, and leaves to the loop.

A gradient that is not finite changes nothing, is counted, and fifty in a row are an error.
"""

import math

import pytest
import torch
from plans import lenet, mlp
from solver.problem import Problem, equal

import lzero
from lzero.constraints import Constraint
from lzero.cost import Cost
from lzero.errors import NonFiniteError, SolverError
from lzero.gates import LogNormal
from lzero.solver import Elbo


def user_adam(problem):
    return torch.optim.Adam([problem.gates.log_alpha], lr=0.02)


def budgets():
    return [Constraint(0.6), Constraint(0.9, "macs", each_layer=True)]


TRAINERS = {  # on the device: Adam of its own and plain ascent; on the host: whatever else
    "device": (mlp, lambda p: lzero.Solver(p.gates, 0.4, total_steps=1000)),
    "device, several": (lenet, lambda p: lzero.Solver(p.gates, constraints=budgets(), total_steps=1000)),
    "device, augmented": (mlp, lambda p: lzero.Solver(p.gates, 0.4, total_steps=1000, augmentation=0.5)),
    "device, unscaled": (mlp, lambda p: lzero.Solver(p.gates, 0.4, total_steps=1000, scale=False)),
    "penalty": (mlp, lambda p: lzero.Penalty(p.gates, 0.1)),
    "elbo": (mlp, lambda p: Elbo(p.gates, 10)),
    "host, optimizer": (mlp, lambda p: lzero.Solver(p.gates, 0.4, total_steps=1000, optimizer=user_adam(p))),
    "host, nupi": (mlp, lambda p: lzero.Solver(p.gates, 0.4, total_steps=1000, dual="nupi")),
    "host, momentum": (
        mlp,
        lambda p: lzero.Solver(p.gates, 0.4, total_steps=1000, dual_options={"momentum": 0.5}),
    ),
    "host, penalty": (mlp, lambda p: lzero.Penalty(p.gates, 0.1, optimizer=user_adam(p))),
}


def problem_of(name):
    case, build = TRAINERS[name]
    problem = Problem(case, estimator=LogNormal() if name == "elbo" else None)
    return problem, build(problem)


def training(problem):
    """All that a state dict has of the training, and the gates."""
    state = problem.model.state_dict()
    return {key: value for key, value in state.items() if key.startswith("lzero.") or key.endswith("log_alpha")}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", TRAINERS)
def test_one_bad_step_changes_nothing_but_the_counts(name, value):
    problem, trainer = problem_of(name)
    problem.train(trainer, 7)
    before = training(problem)
    problem.backward()
    problem.gates.log_alpha.grad.view(-1)[2] = value
    assert not bool(trainer.step())
    after = training(problem)
    assert before.keys() == after.keys()
    for key in before:
        if key not in ("lzero.steps", "lzero.skipped"):
            assert torch.equal(before[key], after[key]), key
    assert (trainer.steps, trainer.skipped) == (8, 1)
    assert problem.gates.log_alpha.grad is None
    problem.backward()
    assert bool(trainer.step()) and trainer.skipped == 1


@pytest.mark.parametrize("name", TRAINERS)
def test_a_bad_first_step_does_not_spoil_what_follows(name):
    problem, trainer = problem_of(name)
    problem.backward()
    problem.gates.log_alpha.grad.fill_(math.nan)
    trainer.step()
    problem.train(trainer, 5)
    assert all(torch.isfinite(value).all() for value in training(problem).values())
    assert all(math.isfinite(value) for value in trainer.metrics().values())
    assert (trainer.steps, trainer.skipped) == (6, 1)


@pytest.mark.parametrize("bad", [None, 20])
def test_the_device_path_is_the_host_path_also_after_a_skipped_step(bad):
    """With and without a bad batch in the middle: the same gates and multipliers as by torch's Adam on the host."""
    ours, theirs = Problem(), Problem()
    adam = torch.optim.Adam([theirs.gates.log_alpha], lr=0.03, fused=True)
    trainers = [lzero.Solver(ours.gates, 0.4, total_steps=1000, gate_lr=0.03)]
    trainers.append(lzero.Solver(theirs.gates, 0.4, total_steps=1000, optimizer=adam))
    for step in range(40):
        for problem, trainer in zip((ours, theirs), trainers, strict=True):
            torch.manual_seed(step)
            problem.backward()
            if step == bad:
                problem.gates.log_alpha.grad[1] = math.nan
            trainer.step()
            problem.optimizer.step()
    for one, two in zip(ours.state(), theirs.state(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)
    assert trainers[0].multipliers == pytest.approx(trainers[1].multipliers, rel=1e-9)
    assert [trainer.skipped for trainer in trainers] == [bad is not None] * 2


@pytest.mark.parametrize("name", ["device", "host, nupi", "penalty", "host, penalty"])
def test_fifty_bad_steps_in_a_row_are_an_error(name):
    problem, trainer = problem_of(name)
    problem.y[0] = math.nan
    taken = 0
    with pytest.raises(NonFiniteError, match=r"not finite in any of the last 50 steps, up to step 50; .* skipped"):
        for _ in range(60):
            problem.backward()
            trainer.step()
            taken += 1
    assert taken == 49 and trainer.skipped == trainer.steps == 50
    assert issubclass(NonFiniteError, SolverError)


def test_forty_nine_bad_steps_and_a_good_one_are_none():
    problem, trainer = problem_of("device")
    for _ in range(3):
        for step in range(50):
            problem.backward()
            if step != 30:
                problem.gates.log_alpha.grad[0] = math.inf
            trainer.step()
    assert (trainer.steps, trainer.skipped) == (150, 147)


def test_counts_of_skipped_steps_ride_in_the_state_dict():
    problem, trainer = problem_of("device")
    problem.train(trainer, 3)
    problem.backward()
    problem.gates.log_alpha.grad[0] = math.nan
    trainer.step()
    other, second = problem_of("device")
    other.model.load_state_dict(problem.model.state_dict())
    second.metrics()
    assert (second.steps, second.skipped) == (4, 1)


class Scaler(torch.amp.GradScaler):
    """A GradScaler on the CPU whose scale stays."""

    def __init__(self, scale):
        super().__init__("cpu", init_scale=scale, growth_interval=10**9)


@pytest.mark.parametrize("name", ["device", "host, optimizer", "host, nupi", "penalty"])
def test_a_scaled_loss_with_its_scaler_is_the_unscaled_one(name):
    (plain, one), (scaled, two) = problem_of(name), problem_of(name)
    scaler = Scaler(2.0**10)
    for step in range(30):
        torch.manual_seed(step)
        plain.train(one, 1)
        torch.manual_seed(step)
        scaled.optimizer.zero_grad()
        scaler.scale(scaled.loss()).backward()
        two.step(scaler=scaler)
        scaler.step(scaled.optimizer)
        scaler.update()
    assert equal(plain.state(), scaled.state())  # a power of two
    assert one.metrics() == two.metrics()


def test_an_overflow_is_skipped_by_the_scaler_and_by_the_trainer():
    problem, trainer = problem_of("device")
    scaler = Scaler(2.0**10)
    for step in range(4):
        problem.optimizer.zero_grad()
        scaler.scale(problem.loss() * (math.inf if step == 2 else 1.0)).backward()
        stepped = trainer.step(scaler=scaler)
        scaler.step(problem.optimizer)
        scaler.update()
        assert bool(stepped) == (step != 2)
    assert trainer.skipped == 1 and scaler.get_scale() == 2.0**9


@pytest.mark.parametrize("name", TRAINERS)
def test_a_step_clears_the_gradient_counts_itself_and_says_that_it_stepped(name):
    problem, trainer = problem_of(name)
    before = problem.gates.log_alpha.detach().clone()
    for step in range(1, 4):
        problem.backward()
        stepped = trainer.step()
        assert stepped.shape == () and stepped.dtype is torch.bool and bool(stepped)
        assert problem.gates.log_alpha.grad is None and (trainer.steps, trainer.skipped) == (step, 0)
    assert not torch.equal(problem.gates.log_alpha, before)


@pytest.mark.parametrize("name", TRAINERS)
def test_metrics_are_the_densities_of_the_whole_model_as_plain_floats(name):
    problem, trainer = problem_of(name)
    problem.train(trainer, 3)
    row, cost = trainer.metrics(), Cost(problem.gates)
    assert row["expected"] == pytest.approx(float(cost.fraction(problem.gates.probability())), rel=1e-6)
    assert row["deployed"] == float(cost.fraction(problem.gates.open_mask()))
    assert all(type(value) is float for value in row.values())


@pytest.mark.parametrize("name", ["device", "host, optimizer", "penalty"])
def test_held_gates_take_steps_that_change_nothing_and_need_no_gradient(name):
    problem, trainer = problem_of(name)
    problem.train(trainer, 3)
    problem.gates.hold(problem.gates.open_mask())
    before = training(problem)
    assert bool(trainer.step())  # without a backward
    problem.backward()
    problem.gates.log_alpha.grad = torch.full_like(problem.gates.log_alpha, math.nan)
    assert bool(trainer.step()) and problem.gates.log_alpha.grad is None
    assert (trainer.steps, trainer.skipped) == (5, 0)
    after = training(problem)
    assert all(torch.equal(before[key], after[key]) for key in before if key != "lzero.steps")


def test_the_hold_is_what_the_training_ships(recwarn):
    problem = Problem(lambda: mlp((20, 30, 20, 3)))
    trainer = lzero.Solver(problem.gates, 0.3, total_steps=200, finetune=0.25)
    problem.train(trainer, 150)
    assert problem.gates.held is not None
    held, log_alpha = problem.gates.held.clone(), problem.gates.log_alpha.detach().clone()
    problem.train(trainer, 50)
    assert torch.equal(problem.gates.log_alpha, log_alpha) and torch.equal(problem.gates.held, held)
    assert torch.equal(problem.model(problem.x), problem.model(problem.x))  # no noise in train mode
    assert torch.equal(problem.model(problem.x), problem.model.eval()(problem.x))
    result = lzero.purge(problem.model)
    kept = torch.cat([result.kept[name] for name in problem.gates.slices])
    assert torch.equal(kept, held != 0)
    torch.testing.assert_close(result.model.eval()(problem.x), problem.model(problem.x), rtol=1e-5, atol=1e-6)
    assert 0 <= 0.3 - result.certificate.deployed["params"] < 0.06
