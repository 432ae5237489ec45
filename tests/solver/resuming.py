"""Trainings that are interrupted: every estimator, dual and trainer, and the ways to write their state to a file."""

import io

import pytest
import torch
from plans import lenet, mlp
from solver.duals import DUALS
from solver.problem import Problem

import lzero
from lzero.baselines import Magnitude
from lzero.constraints import Constraint
from lzero.gates import AR, ARM, Deterministic, HardConcrete, LogNormal, Mask, StraightThrough
from lzero.solver import Elbo

HALF = 100
QUICK = 30  # of the cases that differ in one option alone
BUDGETS = [Constraint(0.6), Constraint(0.9, "macs", each_layer=True)]


def solver(problem, **options):
    return lzero.Solver(
        problem.gates, 0.5, **{"total_steps": 2 * getattr(problem, "half", HALF), "finetune": 0.0, **options}
    )


def several(problem, **options):
    return lzero.Solver(problem.gates, constraints=BUDGETS, total_steps=2 * problem.half, finetune=0.0, **options)


def with_adam(problem):
    return solver(problem, optimizer=torch.optim.Adam([problem.gates.log_alpha], lr=0.03, amsgrad=True))


def with_sgd(problem):
    return solver(problem, optimizer=torch.optim.SGD([problem.gates.log_alpha], lr=0.3, momentum=0.9))


def magnitude(problem):
    return Magnitude(problem.gates, 0.5, model=problem.model, total_steps=2 * problem.half, every=7)


CASES = {
    "hard concrete": (lenet, None, solver),
    "straight through": (mlp, StraightThrough(), solver),
    "AR": (mlp, AR(), solver),
    "ARM": (mlp, ARM(), solver),
    "log-normal": (mlp, LogNormal(), solver),
    "deterministic": (lenet, Deterministic(), solver),
    "deterministic, penalized": (mlp, Deterministic(), lambda p: lzero.Penalty(p.gates, 0.02, total_steps=40)),
    "mask": (mlp, Mask(), magnitude),
    **{f"dual {name}": (mlp, None, lambda p, o=o: solver(p, dual_lr=0.05, **o)) for name, (_, o) in DUALS.items()},
    "augmented": (mlp, None, lambda p: solver(p, augmentation=0.5)),
    "several": (lenet, None, several),
    "unscaled": (mlp, HardConcrete(evaluate="median"), lambda p: solver(p, scale=False, schedule="fixed")),
    "finetune": (lenet, None, lambda p: solver(p, finetune=0.25)),
    "finetune from the middle": (mlp, None, lambda p: solver(p, finetune=0.5)),
    "held from before": (mlp, None, lambda p: solver(p, finetune=0.7)),
    "own adam": (mlp, None, with_adam),
    "own sgd": (mlp, None, with_sgd),
    "penalty": (mlp, None, lambda p: lzero.Penalty(p.gates, {"fc1": 0.01, "fc2": 0.03})),
    "elbo": (mlp, LogNormal(), lambda p: Elbo(p.gates, 70, warm_up_steps=40)),
}


def by_torch(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def by_safetensors(state):
    """Of a safetensors file: tensors of no shared memory, and nothing else."""
    library = pytest.importorskip("safetensors.torch", reason="needs safetensors, which the venv lacks")
    return library.load(library.save({name: tensor.contiguous() for name, tensor in state.items()}))


def fresh(name):
    make, estimator, _ = CASES[name]
    problem = Problem(make, estimator=estimator)
    problem.half = HALF if name in ("hard concrete", "ARM", "log-normal", "finetune") else QUICK
    return problem
