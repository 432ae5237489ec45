"""The solver against cooper's own loop, with the gates in cooper's primal optimizer, step by step."""

import cooper
import pytest
import torch
from solver.duals import DUALS
from solver.problem import Problem, set_multipliers, torch_optimizer

import lzero
from lzero.cost import Cost


class Written(cooper.ConstrainedMinimizationProblem):
    """The same problem as a user of cooper would write it: proxy constraint, deployed cost as strict violation."""

    def __init__(self, problem, target, formulation=cooper.formulations.Lagrangian, two_sided=False, **options):
        super().__init__()
        self.problem, self.target, self.cost = problem, target, Cost(problem.gates, "params")
        self.budget = cooper.Constraint(
            constraint_type=cooper.ConstraintType.EQUALITY if two_sided else cooper.ConstraintType.INEQUALITY,
            formulation_type=formulation,
            multiplier=cooper.multipliers.DenseMultiplier(num_constraints=1, dtype=torch.float64),
            **options,
        )

    def compute_cmp_state(self):
        gates = self.problem.gates
        expected = self.cost.expected(gates.probability())
        strict = self.cost.fraction(gates.open_mask()) - self.target
        observed = cooper.ConstraintState(violation=expected - self.target, strict_violation=strict)
        return cooper.CMPState(loss=self.problem.loss(), observed_constraints={self.budget: observed})


def pair(kind, two_sided, ascent, formulation=cooper.formulations.Lagrangian, options=None, **given):
    """Our solver on one problem, and cooper's roll on its twin."""
    ours, theirs = Problem(dtype=torch.float64, kind=kind), Problem(dtype=torch.float64, kind=kind)
    optimizer = torch_optimizer(kind, [ours.gates.log_alpha], 5e-2)
    given = {"anneal_steps": 1, "schedule": "fixed", "restarts": False, "scale": False, **given}
    solver = lzero.Solver(ours.gates, 0.4, two_sided=two_sided, optimizer=optimizer, **given)
    written = Written(theirs, 0.4, formulation, two_sided, **(options or {}))
    primal = [torch_optimizer(kind, theirs.model.parameters(), 1e-2)]
    primal.append(torch_optimizer(kind, [theirs.gates.log_alpha], 5e-2))
    roller = cooper.optim.SimultaneousOptimizer(written, primal, ascent(written.dual_parameters()))
    return ours, theirs, solver, written, roller


def compare(ours, theirs, solver, written, roller, steps, first=0):
    """lambda after every step, which are the same on both sides, as are weights and gates."""
    seen = []
    for step in range(first, first + steps):
        torch.manual_seed(step)
        ours.train(solver, 1)
        torch.manual_seed(step)
        roller.roll()
        mine, written_value = solver.multipliers["params"], float(written.budget.multiplier.weight.detach())
        assert mine == pytest.approx(written_value, rel=1e-10, abs=1e-12), step
        for one, two in zip(ours.state(), theirs.state(), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-10)
        seen.append(mine)
    return seen


@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize("kind", ["adam", "sgd"])
@pytest.mark.parametrize("dual", DUALS)
def test_steps_equal_coopers_roll(dual, kind, two_sided):
    build, options = DUALS[dual]
    ours, theirs, solver, written, roller = pair(kind, two_sided, build, dual_lr=0.05, **options)
    seen = compare(ours, theirs, solver, written, roller, 40)
    for problem in (ours, theirs):  # from now on the budget is met, and the multiplier falls
        with torch.no_grad():
            problem.gates.log_alpha.fill_(-5.0)
    set_multipliers(solver, 0.05)
    written.budget.multiplier.weight.data.fill_(0.05)
    seen += compare(ours, theirs, solver, written, roller, 20, first=40)
    assert len(set(seen)) > 20 and max(seen) > 0.05
    assert min(seen) < 0 if two_sided else min(seen) == 0


@pytest.mark.parametrize("kind", ["adam", "sgd"])
@pytest.mark.parametrize("two_sided", [False, True])
def test_the_augmented_lagrangian_equals_coopers_too(two_sided, kind):
    coefficient = cooper.penalty_coefficients.DensePenaltyCoefficient(torch.tensor([0.5], dtype=torch.float64))
    seen = compare(
        *pair(
            kind,
            two_sided,
            lambda parameters: torch.optim.SGD(parameters, lr=0.5, maximize=True),
            cooper.formulations.AugmentedLagrangian,
            {"penalty_coefficient": coefficient},
            augmentation=0.5,
            dual_lr=0.5,
        ),
        40,
    )
    assert len(set(seen)) > 20
