"""The solver against cooper's own loop, hand-written updates, autograd, and itself after a restart."""

import copy
import io
import math

import cooper
import pytest
import torch
from plans import lenet, mlp
from torch.nn import functional as F

import lzero
from lzero.constraints import Constraint
from lzero.cost import Cost
from lzero.errors import BudgetError, NonFiniteError, SolverError
from lzero.structure.attach import attach_gates, parameter_groups


class Problem:
    """A small regression with gates; two of them built alike are equal to the bit."""

    def __init__(self, case=mlp, optimizer="adam", scale=1.0):
        torch.manual_seed(0)
        self.model, plan = case()
        self.gates = attach_gates(self.model, plan, open_probability=0.8)
        self.x = torch.randn(16, *plan.example_inputs.shape[1:])
        self.y = self.model.eval()(self.x).detach() + 0.1 * torch.randn(16, 1)
        self.model.train()
        groups = parameter_groups(self.model, 1e-2, 5e-2)
        self.optimizer = torch.optim.Adam(groups) if optimizer == "adam" else torch.optim.SGD(groups, momentum=0.9)
        self.scale = scale

    def loss(self):
        return F.mse_loss(self.model(self.x), self.y) * self.scale

    def backward(self):
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        return loss

    def train(self, seam, steps):
        for _ in range(steps):
            self.backward()
            seam.step()
            self.optimizer.step()

    def state(self):
        return [p.detach().clone() for p in self.model.parameters()]


def equal(one, two):
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


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


DUALS = {
    "sgd": (lambda p: torch.optim.SGD(p, lr=0.05, maximize=True), {"dual": "sgd"}),
    "momentum": (
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.7, maximize=True),
        {"dual": "sgd", "dual_options": {"momentum": 0.7}},
    ),
    "nupi": (
        lambda p: cooper.optim.nuPI(p, lr=0.05, Kp=torch.tensor([2.0]), Ki=torch.tensor([1.0]), maximize=True),
        {"dual": "nupi", "dual_options": {"Kp": 2.0}},
    ),
    "smoothed nupi": (
        lambda p: cooper.optim.nuPI(p, 0.05, Kp=torch.ones(1), Ki=torch.ones(1), ema_nu=0.9, maximize=True),
        {"dual": "nupi", "dual_options": {"ema_nu": 0.9}},
    ),
}


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


def test_the_augmented_pull_is_that_of_the_quadratic():
    problem = Problem()
    solver = lzero.Solver(problem.gates, 0.4, schedule="fixed", scale=False, augmentation=0.5, two_sided=False)
    solver.budgets[0].multiplier.data.fill_(0.3)
    problem.backward()
    before = problem.gates.log_alpha.grad.clone()
    solver.step()
    cost, _ = Cost(problem.gates, "params").linearise(problem.gates.probability())
    violation = cost - 0.4
    quadratic = (torch.relu(0.3 + 0.5 * violation) ** 2 - 0.3**2) / (2 * 0.5)
    (expected,) = torch.autograd.grad(quadratic.sum(), problem.gates.log_alpha)
    assert torch.allclose(problem.gates.log_alpha.grad - before, expected, rtol=1e-3, atol=1e-8)


def test_one_step_is_the_formula_of_the_docstring():
    problem = Problem()
    solver = lzero.Solver(problem.gates, 0.4, total_steps=100, dual_lr=0.02)
    solver.budgets[0].multiplier.data.fill_(0.5)
    solver.steps = 10
    problem.backward()
    before = problem.gates.log_alpha.grad.double()
    solver.step()
    cost = Cost(problem.gates, "params")
    expected, _ = cost.linearise(problem.gates.probability())
    (pull,) = torch.autograd.grad(expected.sum(), problem.gates.log_alpha)
    unit = (1 - 0.99) * before.norm() / (1 - 0.99**11) / pull.double().norm()
    found = problem.gates.log_alpha.grad.double() - before
    assert torch.allclose(found, 0.5 * unit * pull.double(), rtol=1e-4, atol=1e-7)
    target = 0.4 + 0.6 * (1 - 10 / 50) ** 3
    strict = float(cost.fraction(problem.gates.open_mask())) / target - 1
    assert strict > 0
    assert solver.multipliers == {"params": pytest.approx(0.5 + 0.02 * strict, rel=1e-9)}
    row = solver.metrics()
    assert row["multiplier_loss_units"] == pytest.approx(row["multiplier"] * float(unit), rel=1e-5)


def test_at_lambda_one_the_pull_is_as_strong_as_the_loss():
    problem = Problem(scale=37.0)
    solver = lzero.Solver(problem.gates, 0.4, schedule="fixed")
    solver.budgets[0].multiplier.data.fill_(1.0)
    problem.backward()
    before = problem.gates.log_alpha.grad.clone()
    solver.step()
    assert float((problem.gates.log_alpha.grad - before).norm()) == pytest.approx(float(before.norm()), rel=1e-4)


def stepped(multiplier, log_alpha, **options):
    """lambda after one step from ``multiplier`` with all gates at ``log_alpha``, and the relative violation of 0.7."""
    problem = Problem()
    solver = lzero.Solver(problem.gates, 0.7, schedule="fixed", dual_lr=0.01, **options)
    with torch.no_grad():
        problem.gates.log_alpha.fill_(log_alpha)
    solver.budgets[0].multiplier.data.fill_(multiplier)
    strict = float(solver.budgets[0].cost.fraction(problem.gates.open_mask())) / 0.7 - 1
    problem.backward()
    solver.step()
    return solver.multipliers["params"], strict


def test_a_met_constraint_restarts_its_multiplier():
    after, strict = stepped(0.5, -4.0, two_sided=False)
    assert strict < 0 and after == 0.0
    after, strict = stepped(0.5, -4.0, two_sided=False, restarts=False)
    assert after == pytest.approx(0.5 + 0.01 * strict, rel=1e-12)
    after, _ = stepped(1e-4, -4.0, two_sided=False, restarts=False)
    assert after == 0.0  # projected


def test_a_two_sided_multiplier_restarts_where_its_sign_is_not_that_of_the_violation():
    for start, log_alpha in ((0.5, -4.0), (-0.5, 4.0)):
        after, strict = stepped(start, log_alpha, two_sided=True)
        assert start * strict < 0 and after == 0.0
        after, strict = stepped(-start, log_alpha, two_sided=True)
        assert after == pytest.approx(-start + 0.01 * strict, rel=1e-12)


def test_a_single_part_is_held_from_both_sides_by_default_and_several_are_not():
    gates = Problem(lenet).gates
    single, several = lzero.Solver(gates, 0.5), lzero.Solver(gates, constraints=[Constraint(0.9, scope="layer")])
    kinds = [solver.budgets[0].constraint.constraint_type for solver in (single, several)]
    assert kinds == [cooper.ConstraintType.EQUALITY, cooper.ConstraintType.INEQUALITY]
    two = lzero.Solver(gates, constraints=[Constraint(0.5), Constraint(0.6, "macs")])
    assert all(b.constraint.constraint_type == cooper.ConstraintType.INEQUALITY for b in two.budgets)


def test_restarts_are_the_default_of_plain_ascent_alone():
    values = {}
    for dual in ("sgd", "nupi"):
        problem = Problem()
        solver = lzero.Solver(problem.gates, 1.0, schedule="fixed", dual=dual)
        solver.budgets[0].multiplier.data.fill_(0.5)
        problem.backward()
        solver.step()
        values[dual] = solver.multipliers["params"]
    assert values["sgd"] == 0.0 and values["nupi"] > 0


def test_targets_anneal_by_the_cube_and_then_stay():
    problem = Problem()
    solver = lzero.Solver(problem.gates, 0.4, total_steps=20)
    targets = []
    for _ in range(15):
        targets.append(solver.metrics()["annealed_target"])
        problem.train(solver, 1)
    expected = [0.4 + 0.6 * (1 - min(step / 10, 1)) ** 3 for step in range(15)]
    assert targets == pytest.approx(expected, rel=1e-12)
    lengths = [
        ({"total_steps": 20, "anneal_steps": 4}, 4),
        ({"anneal_steps": 7}, 7),
        ({"total_steps": 1}, 1),
        ({}, 1000),
    ]
    for options, length in lengths:
        solver = lzero.Solver(problem.gates, 0.4, **options)
        solver.steps = length
        assert solver.metrics()["annealed_target"] == 0.4
        solver.steps = length - 1
        assert solver.metrics()["annealed_target"] > 0.4
    solver = lzero.Solver(
        problem.gates, 0.4, anneal_steps=10, schedule=lambda target, progress: 1 - progress * (1 - target)
    )
    solver.steps = 5
    assert solver.metrics()["annealed_target"] == pytest.approx(0.7)


@pytest.mark.parametrize("factor", [20.0, 0.05])
def test_the_losss_scale_does_not_change_the_trajectory(factor):
    one, scaled = Problem(), Problem(scale=factor)
    seams = [lzero.Solver(p.gates, 0.4, total_steps=60, dual_lr=0.05) for p in (one, scaled)]
    for step in range(40):
        for problem, seam in zip((one, scaled), seams, strict=True):
            torch.manual_seed(step)
            problem.train(seam, 1)
    a, b = seams[0].metrics(), seams[1].metrics()
    assert a["multiplier"] > 0.01
    assert b["multiplier"] == pytest.approx(a["multiplier"], rel=1e-3)
    assert b["multiplier_loss_units"] == pytest.approx(factor * a["multiplier_loss_units"], rel=1e-2)
    assert torch.allclose(one.gates.log_alpha, scaled.gates.log_alpha, atol=1e-3)


def test_layerwise_budgets_each_pull_on_their_own_gates():
    problem = Problem(lenet)
    solver = lzero.Solver(problem.gates, constraints=[Constraint(scope={"conv1": 0.6, "fc2": 0.9})], schedule="fixed")
    solver.budgets[0].multiplier.data.copy_(torch.tensor([1.0, 0.0]))
    problem.backward()
    before = problem.gates.log_alpha.grad.clone()
    solver.step()
    pull = problem.gates.split(problem.gates.log_alpha.grad - before)
    assert (pull["conv1"] > 0).all()
    assert all((pull[name] == 0).all() for name in ("conv2", "fc1", "fc1.input"))
    own = problem.gates.split(before)["conv1"]
    assert float(pull["conv1"].norm()) == pytest.approx(
        float(own.norm()), rel=1e-4
    )  # lambda 1 in units of its own part


def test_several_constraints_add_their_pulls():
    def pull(constraints, multipliers):
        problem = Problem(lenet)
        solver = lzero.Solver(problem.gates, constraints=constraints, schedule="fixed")
        for budget, value in zip(solver.budgets, multipliers, strict=True):
            budget.multiplier.data.fill_(value)
        problem.backward()
        before = problem.gates.log_alpha.grad.clone()
        solver.step()
        return problem.gates.log_alpha.grad - before, solver

    params, macs = Constraint(0.4), Constraint(0.5, "macs", "layer")
    both, solver = pull([params, macs], [0.7, 0.2])
    assert torch.allclose(both, pull([params], [0.7])[0] + pull([macs], [0.2])[0], rtol=1e-3, atol=1e-7)
    names = ["params", "macs/conv1", "macs/conv2", "macs/fc1", "macs/fc2"]
    assert list(solver.multipliers) == names
    row = solver.metrics()
    assert {f"{name}:{column}" for name in names for column in ("target", "multiplier", "violation")} <= set(row)
    assert all(type(value) is float for value in row.values())


def test_the_expected_and_the_deployed_density_are_those_of_the_model():
    problem = Problem(lenet)
    row = lzero.Solver(problem.gates, 0.6, measure="macs").metrics()
    cost = Cost(problem.gates, "macs")
    assert row["expected"] == pytest.approx(float(cost.fraction(problem.gates.probability())))
    assert row["deployed"] == 1.0 and row["target"] == 0.6 and row["strict_violation"] == pytest.approx(0.4)


@pytest.mark.parametrize("dual", DUALS)
@pytest.mark.parametrize("through_file", [True, False])
def test_thirty_steps_and_thirty_more_are_sixty(dual, through_file):
    options = {**DUALS[dual][1], "dual_lr": 0.05, "total_steps": 80, "restarts": False}
    budgets = [Constraint(0.5), Constraint(0.9, "macs", "layer")]

    def build():
        problem = Problem(lenet)
        return problem, lzero.Solver(problem.gates, constraints=budgets, **options)

    whole, solver = build()
    torch.manual_seed(1)
    whole.train(solver, 30)
    saved = {
        "model": whole.model.state_dict(),
        "optimizer": whole.optimizer.state_dict(),
        "solver": solver.state_dict(),
        "random": torch.get_rng_state(),
    }
    if through_file:
        file = io.BytesIO()
        torch.save(saved, file)
        file.seek(0)
        saved = torch.load(file, weights_only=True)
    else:
        saved = {**copy.deepcopy({k: v for k, v in saved.items() if k != "solver"}), "solver": saved["solver"]}
    whole.train(solver, 30)
    resumed, second = build()
    resumed.model.load_state_dict(saved["model"])
    resumed.optimizer.load_state_dict(saved["optimizer"])
    second.load_state_dict(saved["solver"])
    torch.set_rng_state(saved["random"])
    resumed.train(second, 30)
    assert equal(whole.state(), resumed.state())
    assert solver.metrics() == second.metrics() and any(solver.multipliers.values())
    one, two = solver.state_dict(), second.state_dict()
    assert one["steps"] == two["steps"] == 60
    for key in ("multipliers", "gradient_norms", "units"):
        assert equal(one[key], two[key])


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


def test_saturated_gates_give_finite_gradients():
    problem = Problem()
    solver = lzero.Solver(problem.gates, 0.4, schedule="fixed")
    for value in (40.0, -40.0):
        with torch.no_grad():
            problem.gates.log_alpha.fill_(value)
        solver.budgets[0].multiplier.data.fill_(1.0)
        problem.backward()
        solver.step()
        assert torch.isfinite(problem.gates.log_alpha.grad).all()
        assert all(math.isfinite(value) for value in solver.metrics().values())


@pytest.mark.parametrize("measure", ["params", "macs", "gates"])
def test_the_penalty_adds_the_gradient_of_the_expected_fraction(measure):
    problem = Problem(lenet)
    penalty = lzero.Penalty(problem.gates, 0.3, measure=measure)
    torch.manual_seed(9)
    problem.backward()
    penalty.step()
    found = [p.grad.clone() for p in problem.model.parameters()]
    problem.optimizer.zero_grad()
    torch.manual_seed(9)
    expected, _ = Cost(problem.gates, measure).linearise(problem.gates.probability())
    (problem.loss() + 0.3 * expected.sum()).backward()
    for one, parameter in zip(found, problem.model.parameters(), strict=True):
        assert torch.allclose(one, parameter.grad, rtol=1e-5, atol=1e-8)
    assert penalty.metrics()["multiplier"] == 0.3 and penalty.steps == 1
    other = lzero.Penalty(problem.gates, 9.0)
    other.load_state_dict(penalty.state_dict())
    assert (other.coefficient, other.steps) == (0.3, 1)


@pytest.mark.parametrize("wrong", [-0.1, math.nan, math.inf, "1", None, True])
def test_malformed_coefficients_are_refused(wrong):
    with pytest.raises(BudgetError, match=r"coefficient: expected a finite number >= 0, such as 0\.1, found"):
        lzero.Penalty(Problem().gates, wrong)


@pytest.mark.parametrize("measure", ["params", "macs", "gates"])
def test_coefficients_by_layer_add_the_gradient_of_each_layers_own_fraction(measure):
    problem = Problem(lenet)
    coefficients = {"fc1": 0.3, "conv1" if measure != "gates" else "conv2": 0.02}
    penalty = lzero.Penalty(problem.gates, coefficients, measure=measure)
    problem.backward()
    before = problem.gates.log_alpha.grad.clone()
    penalty.step()
    truth, p = torch.zeros(()), problem.gates.probability()
    for path, coefficient in coefficients.items():
        fraction, _ = Cost(problem.gates, measure, [(path,)]).linearise(p)
        truth = truth + coefficient * fraction.sum()
    (pull,) = torch.autograd.grad(truth, problem.gates.log_alpha)
    assert torch.allclose(problem.gates.log_alpha.grad - before, pull, rtol=1e-4, atol=1e-7)
    assert pull.any()


def test_coefficients_by_layer_are_the_hand_written_gradient():
    """fc2 of the units MLP: (p_1 .. p_4 of its columns) x (its 3 rows) + 3 biases, of which 15 with all open."""
    problem = Problem(lambda: mlp(input_gates=False))
    penalty = lzero.Penalty(problem.gates, {"fc2": 0.7})
    problem.backward()
    before = problem.gates.log_alpha.grad.clone()
    penalty.step()
    p = problem.gates.split(problem.gates.probability().detach().double())
    columns = 0.7 / 15 * p["fc2"].sum() * torch.ones(4)  # d / d p of fc1's units
    rows = 0.7 / 15 * (p["fc1"].sum() + 1) * torch.ones(3)  # and of its own, which have a bias each
    q = torch.cat([p["fc1"], p["fc2"]])
    expected = torch.cat([columns, rows]) * q * (1 - q)
    assert torch.allclose((problem.gates.log_alpha.grad - before).double(), expected, rtol=1e-4, atol=1e-7)


def test_one_coefficient_for_the_root_is_that_of_the_whole_model():
    pulls = []
    for coefficient in (0.4, {"": 0.4}):
        problem = Problem(lenet)
        penalty = lzero.Penalty(problem.gates, coefficient)
        problem.backward()
        penalty.step()
        pulls.append(problem.gates.log_alpha.grad)
        assert penalty.metrics()["multiplier"] == penalty.metrics()["multiplier_loss_units"] == 0.4
    assert torch.equal(*pulls)


def test_coefficients_by_layer_are_recorded_and_resumed_by_name():
    gates = Problem(lenet).gates
    penalty = lzero.Penalty(gates, {"fc1": 0.3, "conv1": 0.02})
    row = penalty.metrics()
    assert row["params/fc1:multiplier"] == row["params/fc1:multiplier_loss_units"] == 0.3
    assert row["params/conv1:multiplier"] == 0.02 and "multiplier" not in row
    other = lzero.Penalty(gates, {"fc1": 9.0, "conv1": 8.0})
    other.load_state_dict({**penalty.state_dict(), "steps": 5})
    assert other.steps == 5 and other.coefficient == {"fc1": 0.3, "conv1": 0.02} and other.metrics() == row
    other.load_state_dict({"steps": 5, "coefficient": {"conv1": 0.02, "fc1": 0.3}})
    assert list(other.coefficient) == ["fc1", "conv1"] and other.metrics() == row
    for wrong in (0.3, {"fc1": 0.3}):
        with pytest.raises(SolverError, match=r"the saved coefficient is .*, this one \{.*\}; build the Penalty as"):
            other.load_state_dict({"steps": 7, "coefficient": wrong})
    with pytest.raises(SolverError, match=r"the saved coefficient is \{.*, this one 0\.1"):
        lzero.Penalty(gates, 0.1).load_state_dict(penalty.state_dict())
    assert other.steps == 5


@pytest.mark.parametrize(
    ("coefficient", "message"),
    [
        ({"fc9": 0.1}, "coefficient: no gated layer at 'fc9'; the gated layers are conv1, conv2, fc1, fc2"),
        ({}, "coefficient: expected at least one module path, found an empty mapping"),
        ({"fc1": -1.0}, r"coefficient\['fc1'\]: expected a finite number >= 0, such as 0\.1, found -1\.0"),
        ({"fc1": None}, r"coefficient\['fc1'\]: expected a finite number"),
    ],
)
def test_malformed_coefficients_by_layer_are_refused(coefficient, message):
    problem = Problem(lenet)
    solver = lzero.Solver(problem.gates, 0.5)
    with pytest.raises(BudgetError, match=message):
        lzero.Penalty(problem.gates, coefficient)
    assert problem.gates.budgets is solver.budgets


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


def test_a_short_training_lands_near_its_target_and_ships_it():
    problem = Problem(lambda: mlp((20, 30, 20, 3)))
    solver = lzero.Solver(problem.gates, 0.3, total_steps=400)
    problem.train(solver, 400)
    result = lzero.purge(problem.model)
    row = solver.metrics()
    assert abs(row["deployed"] - 0.3) < 0.1
    assert 0 <= 0.3 - result.certificate.deployed["params"] < 0.06
