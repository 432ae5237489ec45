"""Gates that have been trained: which trainer may go on with them, and which begins anew."""

import pytest
import torch
from plans import mlp
from solver.problem import Problem, equal
from solver.resuming import solver, with_sgd

import lzero


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


def test_the_same_training_goes_on_in_a_second_solver():
    whole, parts = Problem(), Problem()
    torch.manual_seed(2)
    whole.train(solver(whole), 30)
    torch.manual_seed(2)
    parts.train(solver(parts), 10)
    second = solver(parts)
    assert second.steps == 10
    parts.train(second, 20)
    assert equal(whole.state(), parts.state())


def test_gates_that_no_step_has_moved_take_any_solver():
    problem = Problem()
    solver(problem)
    other = lzero.Solver(problem.gates, 0.7, measure="macs", anneal_steps=3)
    problem.train(other, 1)


def test_a_state_of_other_budgets_is_refused_by_a_running_solver_and_changes_nothing_of_it():
    one, two = Problem(), Problem()
    one.train(solver(one), 5)
    running = solver(two, total_steps=70)
    two.train(running, 3)
    with pytest.raises(lzero.SolverError, match=r"the saved gates were trained for .*, these are trained for"):
        two.model.load_state_dict(one.model.state_dict())
    assert running.steps == 3
    two.train(running, 1)


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


PARTS = ("norms", "weight", "multipliers", "skipped", "optimizer.exp_avg", "optimizer.step", "optimizer_lr")


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


@pytest.mark.parametrize("dual", ["sgd", "nupi"])
def test_a_model_cast_to_double_in_the_middle_goes_on(dual):
    problem = Problem(kind="sgd")
    problem.optimizer.param_groups[0]["momentum"] = 0.0
    trainer = solver(problem, dual=dual)
    problem.train(trainer, 5)
    problem.model.double()
    problem.x, problem.y = problem.x.double(), problem.y.double()
    problem.train(trainer, 5)
    assert problem.gates.log_alpha.dtype == torch.float64 and trainer.steps == 10
    problem.model.bfloat16()
    problem.x, problem.y = problem.x.bfloat16(), problem.y.bfloat16()
    problem.train(trainer, 5)
    assert torch.isfinite(problem.gates.log_alpha).all() and trainer.skipped == 0
    state, moments = problem.model.state_dict(), trainer._gate_optimizer.tensors()
    assert all(torch.equal(state[f"lzero.{name}"], moments[name]) for name in moments)  # and saves what it has
