"""The solver against hand-written updates, autograd, and itself after a restart."""

import copy
import io
import math

import cooper
import pytest
import torch
from plans import lenet, mlp
from solver.duals import DUALS
from solver.problem import Problem, equal

import lzero
from lzero.constraints import Constraint
from lzero.cost import Cost


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


def test_a_short_training_lands_near_its_target_and_ships_it():
    problem = Problem(lambda: mlp((20, 30, 20, 3)))
    solver = lzero.Solver(problem.gates, 0.3, total_steps=400)
    problem.train(solver, 400)
    result = lzero.purge(problem.model)
    row = solver.metrics()
    assert abs(row["deployed"] - 0.3) < 0.1
    assert 0 <= 0.3 - result.certificate.deployed["params"] < 0.06
