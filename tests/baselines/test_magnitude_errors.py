"""What magnitude pruning refuses, and that a refusal changes nothing."""

import copy
import math

import pytest
import torch
from baselines.problem import Problem
from plans import mlp
from torch import nn

import lzero
from lzero.baselines import Magnitude
from lzero.constraints import Constraint
from lzero.errors import BudgetError, SolverError


@pytest.mark.parametrize("other", [{"measure": "macs"}, {"criterion": "random"}, {"seed": 3}, {"every": 7}], ids=str)
def test_gates_that_were_pruned_in_another_way_are_refused_and_nothing_changes(other):
    trained, problem = Problem(), Problem()
    trained.train(trained.trainer(0.5, **other), 6)
    trainer, before = problem.trainer(0.5), problem.gates.log_alpha.detach().clone()
    with pytest.raises(SolverError, match=r"the saved gates were trained for .*, these are trained for"):
        problem.model.load_state_dict(trained.model.state_dict())
    assert trainer.steps == 0 and torch.equal(problem.gates.log_alpha, before)
    with pytest.raises(
        SolverError, match=r"trained for 6 steps by a Magnitude \(0\.5 of the .*; this one is a Magnitude"
    ):
        trained.trainer(0.5)
    assert trained.trainer(0.5, fresh=True).steps == 0


BAD = {
    "begin": ({"begin": -0.1}, r"begin: expected a share of total_steps in \[0, 1\], found -0\.1"),
    "end": ({"end": 7}, r"end: expected a share of total_steps in \[0, 1\], found 7"),
    "nan": ({"end": math.nan}, "end: expected a share .* found nan"),
    "order": ({"begin": 0.8}, "begin: expected a share no larger than end, found begin 0.8 and end 0.5"),
    "once": ({"schedule": "one-shot", "end": 0.7}, "end: a one-shot schedule prunes at begin; leave end out"),
    "total": ({"total_steps": 0}, "total_steps: expected a positive number of optimizer steps, found 0"),
    "every": ({"every": 1.5}, r"every: expected a positive number of optimizer steps, found 1\.5"),
    "schedule": ({"schedule": "linear"}, "schedule: expected one of 'cubic', 'one-shot', found 'linear'"),
    "criterion": ({"criterion": "taylor"}, "criterion: expected one of 'magnitude', 'lamp', 'random', found 'taylor'"),
}


@pytest.mark.parametrize("case", BAD)
def test_malformed_arguments_are_refused_and_leave_the_gates_as_they_were(case):
    options, message = BAD[case]
    problem = Problem()
    with pytest.raises(SolverError, match=message):
        problem.trainer(0.5, **options)
    assert not problem.gates.ledger and problem.gates.ledger.is_held_by(None)


def test_gates_that_are_no_masks_and_other_models_are_refused():
    model, plan = mlp()
    gates = lzero.attach_gates(model, plan)
    with pytest.raises(SolverError, match=r"expected gates that are masks, found HardConcrete; attach them with"):
        Magnitude(gates, 0.5, model=model, total_steps=10)
    one, two = Problem(), Problem()
    for wrong in (two.model, copy.deepcopy(one.model), nn.Sequential(one.model), None):
        with pytest.raises(SolverError, match=r"the gates are not those of this .*; pass model= the module that"):
            Magnitude(one.gates, 0.5, model=wrong, total_steps=10)
    with pytest.raises(SolverError, match=r"expected the Gates that lzero\.attach_gates returned"):
        Magnitude(one.model, 0.5, model=one.model, total_steps=10)


def test_budgets_that_cannot_be_met_are_refused():
    problem = Problem()
    with pytest.raises(BudgetError, match="cannot be met: what is not gated, and one unit of every gated layer"):
        problem.trainer(0.01)
    with pytest.raises(BudgetError, match="Magnitude: a budget is needed, and one way of saying it; give either"):
        problem.trainer()
    with pytest.raises(BudgetError, match="Magnitude: two budgets hold for the same part and measure"):
        problem.trainer(constraints=[Constraint(0.5), Constraint(0.6)])


def test_masks_need_no_gradient_and_mind_none_that_is_not_finite():
    one, two = Problem(), Problem()
    trainer = one.trainer(0.5, every=1)
    one.train(trainer, 1)
    two.train(other := two.trainer(0.5, every=1), 1)
    one.backward()
    one.gates.log_alpha.grad = torch.full_like(one.gates.log_alpha, math.nan)
    assert bool(trainer.step()) and bool(other.step())  # the other without any backward
    assert one.gates.log_alpha.grad is None and (trainer.steps, trainer.skipped) == (2, 0)
    assert torch.equal(one.gates.log_alpha, two.gates.log_alpha)


def test_an_update_that_cannot_settle_leaves_the_mask():
    problem = Problem()
    trainer = problem.trainer(0.5, every=1)
    problem.train(trainer, 5)
    trainer.budgets.targets.fill_(1e-3)
    before = problem.gates.log_alpha.detach().clone()
    problem.backward()
    with pytest.raises(BudgetError, match="settle: one unit of every layer already exceeds a budget"):
        trainer.step()
    assert torch.equal(problem.gates.log_alpha, before) and trainer.steps == 5
