"""What the solver and the penalty refuse, and that a refusal changes nothing."""

import math

import pytest
import torch
from solver.problem import Problem, equal

import lzero
from lzero.errors import BudgetError, NonFiniteError, SolverError


def test_a_state_of_other_constraints_is_refused_and_changes_nothing():
    problem = Problem()
    solver = lzero.Solver(problem.gates, 0.4)
    problem.train(solver, 3)
    before = solver.state_dict()
    other = lzero.Solver(problem.gates, 0.4, measure="macs").state_dict()
    with pytest.raises(SolverError, match=r"saved constraints are \['macs'\], these are \['params'\]"):
        solver.load_state_dict(other)
    with pytest.raises(SolverError, match="the saved constraints are None"):
        solver.load_state_dict({"steps": 7})
    with pytest.raises(SolverError, match="the saved state has no gradient_norms, units, dual"):
        solver.load_state_dict({"names": ["params"], "steps": 7, "multipliers": []})
    after = solver.state_dict()
    assert after["steps"] == before["steps"] == 3 and equal(after["multipliers"], before["multipliers"])


@pytest.mark.parametrize("seam", ["solver", "penalty"])
def test_a_step_before_backward_is_an_error(seam):
    problem = Problem()
    seam = lzero.Solver(problem.gates, 0.4) if seam == "solver" else lzero.Penalty(problem.gates, 0.1)
    with pytest.raises(SolverError, match=r"log_alpha has no gradient: call step\(\) after loss\.backward\(\)"):
        seam.step()
    assert seam.steps == 0 and problem.gates.log_alpha.grad is None
    problem.backward()
    problem.optimizer.zero_grad()
    with pytest.raises(SolverError, match=r"before optimizer\.step"):
        seam.step()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("seam", ["solver", "penalty"])
def test_a_gradient_that_is_not_finite_changes_nothing(seam, value):
    problem = Problem()
    seam = lzero.Solver(problem.gates, 0.4) if seam == "solver" else lzero.Penalty(problem.gates, 0.1)
    problem.train(seam, 3)
    problem.backward()
    problem.gates.log_alpha.grad[2] = value
    before = [problem.gates.log_alpha.grad.clone(), *problem.state()]
    state, row = seam.state_dict(), seam.metrics()
    with pytest.raises(NonFiniteError, match="not finite at step 3; nothing was changed"):
        seam.step()
    after = [problem.gates.log_alpha.grad, *problem.state()]
    assert all(torch.equal(a.nan_to_num(7), b.nan_to_num(7)) for a, b in zip(before, after, strict=True))
    assert seam.metrics() == row and str(seam.state_dict()) == str(state)
    assert isinstance(NonFiniteError(""), SolverError)


def test_a_nan_loss_is_noticed():
    problem = Problem()
    solver = lzero.Solver(problem.gates, 0.4)
    problem.y[0] = math.nan
    problem.backward()
    with pytest.raises(NonFiniteError, match="the loss gradient is not finite"):
        solver.step()


def test_a_solvers_state_is_no_penaltys():
    problem = Problem()
    solver, penalty = lzero.Solver(problem.gates, 0.5), lzero.Penalty(problem.gates, 0.1)
    with pytest.raises(SolverError, match="Penalty: expected the entries steps and coefficient, found"):
        penalty.load_state_dict(solver.state_dict())
    with pytest.raises(SolverError, match="the saved constraints are None"):
        solver.load_state_dict(penalty.state_dict())


BAD = {
    "schedule": ({"schedule": "linear"}, "schedule: expected one of cubic, fixed or a function, found 'linear'"),
    "total": ({"total_steps": 0}, "total_steps: expected a positive number of optimizer steps, found 0"),
    "float": ({"total_steps": 1e3}, r"total_steps: expected a positive number of optimizer steps, found 1000\.0"),
    "anneal": ({"anneal_steps": True}, "anneal_steps: expected a positive number"),
    "dual": ({"dual": "adam"}, "dual: expected 'sgd' or 'nupi', found 'adam'"),
    "lr": ({"dual_lr": 0}, "dual_lr: expected a positive number, found 0"),
    "nan": ({"dual_lr": math.nan}, "dual_lr: expected a positive number, found nan"),
    "option": ({"dual_options": {"Kq": 1}}, "dual_options: sgd does not take {'Kq': 1}"),
    "nu": ({"dual": "nupi", "dual_options": {"ema_nu": 2}}, "dual_options: nupi does not take {'ema_nu': 2}"),
}


@pytest.mark.parametrize("case", BAD)
def test_malformed_arguments_are_refused_and_leave_the_gates_without_budgets(case):
    options, message = BAD[case]
    gates = Problem().gates
    with pytest.raises(SolverError, match=message):
        lzero.Solver(gates, 0.5, **options)
    assert len(gates.budgets) == 0


def test_something_that_is_no_gates_is_refused():
    for build in (lambda: lzero.Solver(Problem().model, 0.5), lambda: lzero.Penalty(None, 0.5)):
        with pytest.raises(
            (SolverError, BudgetError), match=r"expected the Gates that lzero\.attach_gates returned, found"
        ):
            build()
