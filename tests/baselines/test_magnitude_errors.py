"""What magnitude pruning refuses, and that a refusal changes nothing."""

import copy
import math

import pytest
import torch
from baselines.problem import Problem
from plans import mlp
from torch import nn

import lzero
from lzero.baselines.magnitude import Magnitude
from lzero.constraints import Constraint
from lzero.errors import BudgetError, NonFiniteError, SolverError


def test_a_state_of_another_seam_is_refused_and_changes_nothing():
    problem = Problem()
    seam = problem.seam(0.5)
    for state, message in [
        (problem.seam(0.5, measure="macs").state_dict(), r"saved with names \['macs'\], this one has \['params'\]"),
        (problem.seam(0.5, criterion="random").state_dict(), "saved with criterion 'random', this one has 'magnitude'"),
        ({**seam.state_dict(), "steps": 4, "seed": 3}, "saved with seed 3, this one has 0; build it as it was"),
        ({"steps": 4}, "the saved state has no names; it is not a Magnitude's state_dict"),
    ]:
        with pytest.raises(SolverError, match=message):
            seam.load_state_dict(state)
        assert seam.steps == 0


BAD = {
    "begin": ({"begin": -0.1}, r"begin: expected a share of total_steps in \[0, 1\], found -0\.1"),
    "end": ({"end": 7}, r"end: expected a share of total_steps in \[0, 1\], found 7"),
    "nan": ({"end": math.nan}, "end: expected a share .* found nan"),
    "order": ({"begin": 0.8}, "begin: expected a share no larger than end, found begin 0.8 and end 0.5"),
    "once": ({"schedule": "one-shot", "end": 0.7}, "end: a one-shot schedule prunes at begin; leave end out"),
    "total": ({"total_steps": 0}, "total_steps: expected a positive number of optimizer steps, found 0"),
    "every": ({"every": 1.5}, r"every: expected a positive number of optimizer steps, found 1\.5"),
    "schedule": ({"schedule": "linear"}, "schedule: expected one of cubic, one-shot, found 'linear'"),
    "criterion": ({"criterion": "taylor"}, "criterion: expected one of magnitude, lamp, random, found 'taylor'"),
}


@pytest.mark.parametrize("case", BAD)
def test_malformed_arguments_are_refused_and_leave_the_gates_without_budgets(case):
    options, message = BAD[case]
    problem = Problem()
    with pytest.raises(SolverError, match=message):
        problem.seam(0.5, **options)
    assert len(problem.gates.budgets) == 0


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
        problem.seam(0.01)
    with pytest.raises(BudgetError, match="Magnitude: give either target_density or constraints"):
        problem.seam()
    with pytest.raises(BudgetError, match="Magnitude: two budgets hold for the same part and measure"):
        problem.seam(constraints=[Constraint(0.5), Constraint(0.6)])


def test_a_step_before_backward_and_a_gradient_that_is_not_finite_change_nothing():
    problem = Problem()
    seam = problem.seam(0.5, every=1)
    with pytest.raises(SolverError, match=r"log_alpha has no gradient: call step\(\) after loss\.backward\(\)"):
        seam.step()
    problem.train(seam, 2)
    problem.backward()
    problem.gates.log_alpha.grad[0] = math.nan
    before = problem.gates.log_alpha.detach().clone()
    with pytest.raises(NonFiniteError, match="not finite at step 2; nothing was changed"):
        seam.step()
    assert seam.steps == 2 and torch.equal(problem.gates.log_alpha, before)


def test_an_update_that_cannot_settle_leaves_the_mask():
    problem = Problem()
    seam = problem.seam(0.5, every=1)
    seam.budgets[0].targets.fill_(1e-3)
    seam.steps = 5
    before = problem.gates.log_alpha.detach().clone()
    problem.backward()
    with pytest.raises(BudgetError, match="settle: one unit of every layer already exceeds a budget"):
        seam.step()
    assert torch.equal(problem.gates.log_alpha, before) and seam.steps == 5
