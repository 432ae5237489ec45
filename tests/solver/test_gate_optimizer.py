"""Who moves the gates: an Adam of the solver's own, as torch has it, or what the user passes; and nobody else."""

import pytest
import torch
from plans import mlp
from solver.problem import Problem, equal

import lzero
from lzero.errors import SolverError
from lzero.gates import LogNormal
from lzero.solver import Elbo


def test_the_penalty_by_sgd_is_the_hand_written_update():
    problem = Problem(dtype=torch.float64)
    gates, torch_sgd = problem.gates, torch.optim.SGD([problem.gates.log_alpha], lr=0.7)
    penalty = lzero.Penalty(gates, 0.3, optimizer=torch_sgd)
    torch.manual_seed(1)
    problem.backward()
    before, gradient = gates.log_alpha.detach().clone(), gates.log_alpha.grad.clone()
    cost = 0.3 * lzero.cost.Cost(gates).expected(gates.probability()).sum()
    (pull,) = torch.autograd.grad(cost, gates.log_alpha)
    stepped = penalty.step()
    assert stepped.dtype == torch.bool and stepped.dim() == 0 and bool(stepped)
    torch.testing.assert_close(gates.log_alpha.detach(), before - 0.7 * (gradient + pull), rtol=1e-12, atol=1e-14)
    assert gates.log_alpha.grad is None


@pytest.mark.parametrize("total", [100, 1200, 9000])
@pytest.mark.parametrize("trainer", ["solver", "penalty", "elbo"])
def test_the_first_step_of_adam_is_its_rate(trainer, total):
    problem = Problem(dtype=torch.float64, estimator=LogNormal() if trainer == "elbo" else None)
    build = {
        "solver": lambda: lzero.Solver(problem.gates, 0.4, total_steps=total),
        "penalty": lambda: lzero.Penalty(problem.gates, 0.4, total_steps=total),
        "elbo": lambda: Elbo(problem.gates, 10, total_steps=total),
    }
    before = problem.gates.log_alpha.detach().clone()
    problem.train(build[trainer](), 1)
    moved = (problem.gates.log_alpha.detach() - before).abs()
    assert float(moved.max()) == pytest.approx(min(max(0.02, 100 / total), 0.2), rel=1e-3)


def test_the_loops_optimizer_never_sees_the_gates():
    problem = Problem()
    gates = problem.gates
    assert not any(p is gates.log_alpha for p in problem.model.parameters())
    assert gates.log_alpha.requires_grad and gates.log_alpha.is_leaf
    for group in problem.optimizer.param_groups:
        assert not any(p is gates.log_alpha for p in group["params"])
    problem.optimizer = torch.optim.AdamW(problem.model.parameters(), 1e-2, weight_decay=0.5)
    start = gates.log_alpha.detach().clone()
    for _ in range(5):
        problem.backward()
        torch.nn.utils.clip_grad_norm_(problem.model.parameters(), 1e-9)
        problem.optimizer.step()
    assert torch.equal(gates.log_alpha, start)
    problem.model.requires_grad_(False)
    assert gates.log_alpha.requires_grad
    problem.model.zero_grad()  # does not clear what is the solver's


def test_the_step_may_come_before_or_after_the_optimizers():
    """Neither reads what the other writes."""
    found = []
    for first in (True, False):
        torch.manual_seed(0)
        problem = Problem()
        solver = lzero.Solver(problem.gates, 0.4, total_steps=20)
        for _ in range(20):
            problem.backward()
            for step in (solver.step, problem.optimizer.step) if first else (problem.optimizer.step, solver.step):
                step()
        found.append(problem.state())
    assert equal(*found)


def test_gradients_accumulate_over_backwards():
    def moved(backwards):
        problem = Problem(dtype=torch.float64)
        penalty = lzero.Penalty(problem.gates, 0.1, optimizer=torch.optim.SGD([problem.gates.log_alpha], lr=1.0))
        total = 0
        for seed in (1, 2):
            torch.manual_seed(seed)
            loss = problem.loss() / 2
            if backwards == 2:
                loss.backward()
            total = total + loss
        if backwards == 1:
            total.backward()
        penalty.step()
        return problem.gates.log_alpha.detach()

    torch.testing.assert_close(moved(1), moved(2), rtol=1e-12, atol=1e-14)


WRONG = {
    "weights": (lambda p: torch.optim.SGD(p.model.parameters(), lr=0.1), r"found one over 6 tensors, log_alpha not"),
    "both": (
        lambda p: torch.optim.SGD([p.gates.log_alpha, *p.model.parameters()], lr=0.1),
        r"expected one over \[gates.log_alpha\] alone; .* found one over 7 tensors$",
    ),
    "another": (lambda p: torch.optim.SGD([torch.zeros(3, requires_grad=True)], lr=0.1), "log_alpha not among them"),
    "lbfgs": (lambda p: torch.optim.LBFGS([p.gates.log_alpha]), "LBFGS runs the loss many times a step"),
    "word": (lambda p: "adam", "expected a torch optimizer of the gates, .* or None, found 'adam'"),
    "class": (lambda p: torch.optim.Adam, "expected a torch optimizer of the gates"),
    "number": (lambda p: 0.1, "expected a torch optimizer of the gates"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("trainer", ["solver", "penalty", "elbo"])
def test_a_wrong_optimizer_is_refused_and_takes_nothing(trainer, case):
    make, message = WRONG[case]
    problem = Problem(mlp, estimator=LogNormal() if trainer == "elbo" else None)
    build = {
        "solver": lambda **o: lzero.Solver(problem.gates, 0.4, anneal_steps=1, **o),
        "penalty": lambda **o: lzero.Penalty(problem.gates, 0.4, **o),
        "elbo": lambda **o: Elbo(problem.gates, 10, **o),
    }[trainer]
    first = build()
    with pytest.raises(SolverError, match=f"optimizer: .*{message}" if trainer != "x" else message):
        build(optimizer=make(problem))
    problem.train(first, 1)  # the gates are still its own


def test_rates_that_a_scheduler_sets_reach_the_gates():
    problem = Problem(dtype=torch.float64)
    adam = torch.optim.SGD([problem.gates.log_alpha], lr=1.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: 0.5**step)
    penalty = lzero.Penalty(problem.gates, 0.0, optimizer=adam)
    for step in range(3):
        problem.backward()
        before, gradient = problem.gates.log_alpha.detach().clone(), problem.gates.log_alpha.grad.clone()
        penalty.step()
        torch.testing.assert_close(problem.gates.log_alpha.detach(), before - 0.5**step * gradient)
        schedule.step()
