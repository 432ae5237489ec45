"""What a training was asked for: in words, and what it takes to go on with it."""

import pytest
import torch
from solver.problem import Problem
from solver.resuming import solver, with_sgd

import lzero
from lzero.constraint_record import KIND, to_tensor
from lzero.constraints import Constraint
from lzero.errors import SolverError
from lzero.solver.asked import check_same_training, described

PARTS = ("norms", "weight", "multipliers", "skipped", "optimizer.exp_avg", "optimizer.step", "optimizer_lr")


HALF = (Constraint(0.5),)


def asked(kind="Solver", constraints=HALF, **values):
    return to_tensor({KIND: kind, "constraints": constraints, **values})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "something unknown"),
        (torch.tensor([1, 2, 255], dtype=torch.uint8), "something unreadable"),
        (torch.zeros(0), "something unreadable"),
        (asked(), "a Solver (0.5 of the params)"),
        (asked("Elbo", (), examples=9), "an Elbo (examples=9)"),
        (asked("Penalty", (), coefficient=0.1, rest=None), "a Penalty (coefficient=0.1)"),  # not what is None
        (
            asked(constraints=(Constraint(0.25, "macs", within="a.b"), Constraint(0.1, each_layer=True)), total=7),
            "a Solver (0.25 of the macs within a.b, 0.1 of the params in each layer, total=7)",
        ),
        (
            asked(constraints=(Constraint(1e-3, "gates", within="a", each_layer=True),)),
            "a Solver (0.001 of the gates within a in each layer)",
        ),
    ],
    ids=range(8),
)
def test_what_was_asked_in_words(value, words):
    assert described(value) == words


def left(**changes):
    whole = {"asked": asked(), "steps": torch.tensor([12]), "norms": torch.zeros(2), "other": torch.zeros(5)}
    return {name: tensor for name, tensor in {**whole, **changes}.items() if tensor is not None}


EXPECTED = {"norms": torch.ones(2), "steps": torch.tensor([0])}


def test_the_same_training_goes_on_with_whatever_else_was_left():
    check_same_training("Solver", left(), asked(), EXPECTED)
    check_same_training("Solver", left(), asked(), {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"asked": asked(constraints=(Constraint(0.4),))},
            r"^Solver: these gates have been trained for 12 steps by a Solver \(0\.4 of the params\); this one is a "
            r"Solver \(0\.5 of the params\)\. Build it as it was .* or pass fresh=True to begin another one",
        ),
        ({"asked": None}, r"^Solver: .* 12 steps by something unknown; this one is a Solver"),
        ({"asked": torch.zeros(3)}, r"^Solver: .* 12 steps by something unreadable; this one is a Solver"),
        ({"norms": None}, "^Solver: norms of the training's saved state are missing or of another shape; load a state"),
        ({"norms": torch.zeros(3)}, "^Solver: norms of the training's saved state are missing or of another shape"),
        ({"norms": torch.zeros(3), "steps": torch.tensor([[1]])}, "^Solver: norms, steps of the training's saved"),
    ],
)
def test_another_training_or_a_part_of_one_is_refused(changes, message):
    with pytest.raises(SolverError, match=message):
        check_same_training("Solver", left(**changes), asked(), EXPECTED)


@pytest.mark.parametrize("change", [{"total_steps": 300}, {"finetune": 0.1}, {"measure": "macs"}, {"anneal_steps": 3}])
def test_another_training_on_trained_gates_is_refused_unless_fresh(change):
    problem = Problem()
    problem.train(solver(problem), 7)
    message = r"Solver: these gates have been trained for 7 steps by a Solver \(0\.5 of the params, .*; this one is a"
    with pytest.raises(lzero.SolverError, match=f"{message} Solver .* pass fresh=True to begin another"):
        solver(problem, **change)
    log_alpha = problem.gates.log_alpha.detach().clone()
    second = solver(problem, fresh=True, **change)
    assert second.steps == 0 and torch.equal(problem.gates.log_alpha, log_alpha)
    assert set(second.multipliers.values()) == {0.0}
    problem.train(second, 3)


def test_another_kind_of_trainer_is_refused_unless_fresh():
    problem = Problem()
    problem.train(solver(problem), 2)
    with pytest.raises(lzero.SolverError, match=r"Penalty: .* 2 steps by a Solver .*; this one is a Penalty \(coeff"):
        lzero.Penalty(problem.gates, 0.1)
    penalty = lzero.Penalty(problem.gates, 0.1, fresh=True)
    problem.train(penalty, 2)
    with pytest.raises(lzero.SolverError, match=r"Solver: .* 2 steps by a Penalty"):
        solver(problem)


@pytest.mark.parametrize("name", [f"lzero.{part}" for part in PARTS])
@pytest.mark.parametrize("change", ["missing", "longer"])
@pytest.mark.parametrize("early", [False, True])
def test_a_state_that_lacks_something_is_an_error_of_lzero_and_changes_nothing(name, change, early):
    saved = Problem()
    saved.train(solver(saved), 5)
    state = saved.model.state_dict()
    if change == "missing":
        del state[name]
    else:
        state[name] = torch.zeros(7)
    problem = Problem()
    trainer = None if early else solver(problem)
    if trainer is not None:
        problem.train(trainer, 2)
    problem.model.load_state_dict(state)
    with pytest.raises(lzero.SolverError, match=f"Solver: {name.removeprefix('lzero.')} of the training's saved state"):
        solver(problem) if early else problem.train(trainer, 1)
    assert trainer is None or trainer.steps == 2


def test_the_state_of_another_optimizer_is_refused_unless_fresh():
    """The buffers of one are not those of the other."""
    problem = Problem()
    problem.train(with_sgd(problem), 3)
    with pytest.raises(lzero.SolverError, match=r"optimizer=SGD.*; this one is a Solver \(.*optimizer=Adam"):
        solver(problem)
    problem.train(solver(problem, fresh=True), 3)
