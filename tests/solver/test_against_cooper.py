"""The solver against cooper's own loop, to the last bit."""

import cooper
import pytest
import torch
from solver.duals import DUALS
from solver.problem import Problem, equal

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
        expected, _ = self.cost.linearise(gates.probability())
        strict = self.cost.fraction(gates.open_mask()) - self.target
        observed = cooper.ConstraintState(violation=expected - self.target, strict_violation=strict)
        return cooper.CMPState(loss=self.problem.loss(), observed_constraints={self.budget: observed})


@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("dual", DUALS)
def test_steps_equal_coopers_roll_to_the_last_bit(dual, optimizer, two_sided):
    build, options = DUALS[dual]
    ours, theirs = Problem(optimizer=optimizer), Problem(optimizer=optimizer)
    options = {**options, "schedule": "fixed", "restarts": False, "scale": False, "dual_lr": 0.05}
    solver = lzero.Solver(ours.gates, 0.4, two_sided=two_sided, **options)
    written = Written(theirs, solver.budgets[0].targets, two_sided=two_sided)
    roller = cooper.optim.SimultaneousOptimizer(written, theirs.optimizer, build(written.dual_parameters()))
    seen = []
    for step in range(60):
        if step == 40:  # from now on the budget is met, and the multiplier falls
            for problem in (ours, theirs):
                with torch.no_grad():
                    problem.gates.log_alpha.fill_(-5.0)
            for multiplier in (solver.budgets[0].multiplier, written.budget.multiplier.weight):
                multiplier.data.fill_(0.05)
        torch.manual_seed(step)
        ours.train(solver, 1)
        torch.manual_seed(step)
        roller.roll()
        assert torch.equal(solver.budgets[0].multiplier, written.budget.multiplier.weight), step
        assert equal(ours.state(), theirs.state()), step
        seen.append(solver.multipliers["params"])
    assert len(set(seen)) > 20 and max(seen) > 0.05
    assert min(seen) < 0 if two_sided else min(seen) == 0


@pytest.mark.parametrize("two_sided", [False, True])
def test_the_augmented_lagrangian_equals_coopers_too(two_sided):
    ours, theirs = Problem(), Problem()
    options = {"schedule": "fixed", "restarts": False, "scale": False, "augmentation": 0.5, "dual_lr": 0.5}
    solver = lzero.Solver(ours.gates, 0.4, two_sided=two_sided, **options)
    coefficient = cooper.penalty_coefficients.DensePenaltyCoefficient(torch.tensor([0.5], dtype=torch.float64))
    written = Written(theirs, 0.4, cooper.formulations.AugmentedLagrangian, two_sided, penalty_coefficient=coefficient)
    dual = torch.optim.SGD(written.dual_parameters(), lr=0.5, maximize=True)
    roller = cooper.optim.SimultaneousOptimizer(written, theirs.optimizer, dual)
    for step in range(40):
        torch.manual_seed(step)
        ours.train(solver, 1)
        torch.manual_seed(step)
        roller.roll()
        assert torch.equal(solver.budgets[0].multiplier, written.budget.multiplier.weight)
        assert equal(ours.state(), theirs.state())
