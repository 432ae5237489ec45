"""What the trainers refuse, with which words, and that a refusal changes nothing."""

import math

import pytest
import torch
from plans import mlp
from solver.problem import Problem, equal

import lzero
from lzero.errors import LzeroError, SolverError
from lzero.gates import LogNormal
from lzero.solver import Elbo

TRAINERS = {
    "solver": lambda gates, **o: lzero.Solver(gates, 0.4, **{"total_steps": 40, **o}),
    "penalty": lambda gates, **o: lzero.Penalty(gates, 0.1, **o),
    "elbo": lambda gates, **o: Elbo(gates, 10, **o),
}


def built(name):
    problem = Problem(mlp, estimator=LogNormal() if name == "elbo" else None)
    return problem, TRAINERS[name](problem.gates)


def cleared(problem):
    problem.backward()
    problem.gates.log_alpha.grad = None


def cleared_by_zero(problem):
    problem.backward()
    torch.optim.SGD([problem.gates.log_alpha], lr=0.1).zero_grad()


def without_grad(problem):
    with torch.no_grad():
        problem.loss()


def in_eval(problem):
    problem.model.eval()
    with torch.no_grad():
        problem.loss()


REASONS = {
    "nothing": (lambda problem: None, r"there was no forward since the last step: step\(\) was called twice for one"),
    "forward alone": (lambda problem: problem.loss(), r"no backward has come to them since the forward: call step\(\)"),
    "cleared": (cleared, r"their gradient was cleared after backward: leave gates\.log_alpha\.grad to the solver"),
    "cleared by zero_grad": (cleared_by_zero, "their gradient was cleared after backward"),
    "no_grad": (without_grad, r"the forward ran under torch\.no_grad\(\); run it with gradients"),
    "eval": (in_eval, r"the model ran in eval mode, .* call model\.train\(\), and put single layers into eval mode"),
    "another loss": (lambda p: torch.ones((), requires_grad=True).backward(), "there was no forward since"),
}


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("name", TRAINERS)
def test_a_missing_gradient_says_why_and_the_way_out(name, reason):
    problem, trainer = built(name)
    problem.train(trainer, 2)
    prepare, message = REASONS[reason]
    prepare(problem)
    before, steps = problem.state(), trainer.steps
    with pytest.raises(SolverError, match=f"^the gates have no gradient: {message}"):
        trainer.step()
    assert equal(before, problem.state()) and trainer.steps == steps
    problem.model.train()
    problem.train(trainer, 1)  # and the training goes on


@pytest.mark.parametrize("name", TRAINERS)
def test_stepping_twice_a_batch_is_noticed(name):
    problem, trainer = built(name)
    problem.backward()
    trainer.step()
    with pytest.raises(SolverError, match=r"step\(\) was called twice for one backward"):
        trainer.step()
    assert trainer.steps == 1


@pytest.mark.parametrize("name", TRAINERS)
def test_frozen_gates_are_noticed(name):
    problem, trainer = built(name)
    problem.gates.log_alpha.requires_grad_(False)
    problem.backward()
    with pytest.raises(SolverError, match=r"the gates are frozen .*gates\.log_alpha\.requires_grad_\(True\)"):
        trainer.step()
    problem.gates.log_alpha.requires_grad_(True)
    problem.train(trainer, 1)


@pytest.mark.parametrize("name", TRAINERS)
def test_the_second_trainer_takes_the_gates_over(name):
    problem, first = built(name)
    second = TRAINERS[name](problem.gates)
    problem.backward()
    with pytest.raises(SolverError, match=r"another one was built on these gates since; step that one, and keep one"):
        first.step()
    with pytest.raises(SolverError, match="another one was built"):
        first.metrics()
    second.step()
    assert second.steps == 1


@pytest.mark.parametrize("name", TRAINERS)
@pytest.mark.parametrize("attribute", ["steps", "target_density", "constraints", "gates", "coefficient", "new"])
def test_what_a_training_is_for_cannot_be_set(name, attribute):
    _, trainer = built(name)
    with pytest.raises(SolverError, match=rf"{type(trainer).__name__}\.{attribute}: what a training is for stays"):
        setattr(trainer, attribute, 3)


def test_the_steps_of_a_copy_of_the_model_are_not_those_of_the_solver():
    """A deep copy has no trainer; the one of the original goes on with the original."""
    import copy

    problem, trainer = built("solver")
    problem.train(trainer, 3)
    twin = copy.deepcopy(problem.model)
    gates = lzero.gates_of(twin)
    assert gates.ledger.is_held_by(None)
    assert gates.log_alpha.requires_grad and gates.log_alpha is not problem.gates.log_alpha
    steps = int(gates.ledger["steps"][0])
    problem.train(trainer, 2)
    assert int(gates.ledger["steps"][0]) == steps == 3
    other = TRAINERS["solver"](gates)
    assert other.steps == 3


BAD = {
    "nothing about steps": ({"total_steps": None}, "total_steps: expected the number of optimizer steps of the whole"),
    "schedule": ({"schedule": "linear"}, "schedule: expected one of cubic, fixed or a function, found 'linear'"),
    "schedule object": ({"schedule": 3}, "schedule: expected one of cubic, fixed or a function, found 3"),
    "total": ({"total_steps": 0}, "total_steps: expected a positive number of optimizer steps, found 0"),
    "float": ({"total_steps": 1e3}, r"total_steps: expected a positive number of optimizer steps, found 1000\.0"),
    "anneal": ({"anneal_steps": True}, "anneal_steps: expected a positive number"),
    "dual": ({"dual": "adam"}, "dual: expected one of 'sgd', 'nupi', found 'adam'"),
    "lr": ({"dual_lr": 0}, "dual_lr: expected a positive number, found 0"),
    "nan": ({"dual_lr": math.nan}, "dual_lr: expected a positive number, found nan"),
    "gate_lr": ({"gate_lr": -1.0}, r"gate_lr: expected a positive number, found -1\.0"),
    "gate_lr word": ({"gate_lr": "fast"}, "gate_lr: expected a positive number, found 'fast'"),
    "option": ({"dual_options": {"Kq": 1}}, "dual_options: sgd does not take {'Kq': 1}"),
    "options": ({"dual_options": [1]}, r"dual_options: expected a mapping of arguments of sgd, found \[1\]"),
    "nu": ({"dual": "nupi", "dual_options": {"ema_nu": 2}}, "dual_options: nupi does not take {'ema_nu': 2}"),
    "restarts": ({"restarts": 1}, "restarts: expected True or False, found 1"),
    "two_sided": ({"two_sided": "yes"}, "two_sided: expected True or False, found 'yes'"),
    "scale": ({"scale": 0.5}, r"scale: expected True or False, found 0\.5"),
    "fresh": ({"fresh": 1}, "fresh: expected True or False, found 1"),
    "finetune": ({"finetune": 1.0}, r"finetune: expected a share in \[0, 1\), found 1\.0"),
    "finetune negative": ({"finetune": -0.1}, r"finetune: expected a share in \[0, 1\), found -0\.1"),
    "finetune alone": (
        {"finetune": 0.2, "total_steps": None, "anneal_steps": 5},
        "finetune: is a share of total_steps; give total_steps too",
    ),
    "augmentation": ({"augmentation": -1}, "augmentation: expected a finite number >= 0, found -1"),
    "augmentation nan": ({"augmentation": math.nan}, "augmentation: expected a finite number >= 0, found nan"),
    "augmentation word": ({"augmentation": "1"}, "augmentation: expected a finite number >= 0, found '1'"),
}


@pytest.mark.parametrize("case", BAD)
def test_malformed_arguments_are_refused_and_leave_the_gates_to_their_solver(case):
    options, message = BAD[case]
    problem = Problem()
    first = TRAINERS["solver"](problem.gates)
    problem.train(first, 2)
    before = {key: value.clone() for key, value in problem.model.state_dict().items()}
    with pytest.raises(SolverError, match=message):
        TRAINERS["solver"](problem.gates, **options)
    after = problem.model.state_dict()
    assert list(before) == list(after) and all(torch.equal(before[key], after[key]) for key in before)
    problem.train(first, 1)


ARGUMENTS = {
    "Solver": (lambda gates, **o: lzero.Solver(gates, **{"target_density": 0.4, "total_steps": 9, **o})),
    "Penalty": (lambda gates, **o: lzero.Penalty(gates, **{"coefficient": 0.1, **o})),
    "Elbo": (lambda gates, **o: Elbo(gates, **{"examples": 9, **o})),
}
NAMES = {
    "Solver": "target_density measure constraints total_steps anneal_steps finetune gate_lr optimizer schedule dual_lr "
    "dual dual_options restarts two_sided scale augmentation fresh",
    "Penalty": "coefficient measure total_steps gate_lr optimizer fresh",
    "Elbo": "examples warm_up_steps measure total_steps gate_lr optimizer fresh",
}


class Hostile:
    """Its repr raises, as some objects' does."""

    def __repr__(self):
        raise RuntimeError("no repr")


@pytest.mark.parametrize(("name", "argument"), [(name, a) for name, all_ in NAMES.items() for a in all_.split()])
def test_a_foreign_object_for_any_argument_is_an_lzero_error(name, argument):
    problem = Problem(estimator=LogNormal() if name == "Elbo" else None)
    for wrong in (object(), Hostile(), b"1", 10**400, -(10**400), complex(1), torch.zeros(2), {1: 2}, {"a": Hostile()}):
        if argument == "dual_options" and isinstance(wrong, dict) and not wrong:
            continue
        with pytest.raises(LzeroError, match=r"expected|does not take|give|such as"):
            ARGUMENTS[name](problem.gates, **{argument: wrong})
    ARGUMENTS[name](problem.gates)
