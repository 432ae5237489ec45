"""The solver's step against hand-written updates and autograd."""

import math

import pytest
import torch
from plans import lenet, mlp
from solver.problem import Problem, set_multipliers

import lzero
from lzero.constraints import Constraint
from lzero.cost import Cost

DOUBLE = torch.float64


def built(problem, *args, **options):
    """A solver that pulls from the first step on, and whose gradient the problem keeps."""
    options = {"anneal_steps": 1, "schedule": "fixed", "optimizer": problem.kept, **options}
    return lzero.Solver(problem.gates, *args, **options)


def test_the_augmented_pull_is_that_of_the_quadratic():
    problem = Problem(dtype=DOUBLE)
    solver = built(problem, 0.4, scale=False, augmentation=0.5, two_sided=False)
    set_multipliers(solver, 0.3)
    found, _ = problem.pull(solver)
    cost = Cost(problem.gates, "params").expected(problem.gates.probability())
    quadratic = (torch.relu(0.3 + 0.5 * (cost - 0.4)) ** 2 - 0.3**2) / (2 * 0.5)
    (expected,) = torch.autograd.grad(quadratic.sum(), problem.gates.log_alpha)
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("case", [mlp, lenet, lambda: mlp(input_gates=False)])
def test_one_step_is_the_formula_of_the_docstring(case):
    problem = Problem(case, dtype=DOUBLE)
    solver = built(problem, 0.6, anneal_steps=None, total_steps=100, schedule="cubic", dual_lr=0.02)
    for _ in range(10):
        problem.backward()
        solver.step()  # log_alpha stays: the optimizer moves nothing
    set_multipliers(solver, 0.5)
    norms = solver._norms.clone()
    found, before = problem.pull(solver)
    cost = Cost(problem.gates, "params")
    (pull,) = torch.autograd.grad(cost.expected(problem.gates.probability()).sum(), problem.gates.log_alpha)
    mean = (0.99 * norms + 0.01 * before.norm()) / (1 - 0.99**11)
    unit = mean / pull.norm()
    assert torch.allclose(found, 0.5 * unit * pull, rtol=1e-6, atol=1e-12)
    target = 0.6 + 0.4 * (1 - 10 / 50) ** 3
    strict = float(cost.fraction(problem.gates.open_mask())) / target - 1
    assert strict > 0
    assert solver.multipliers == {"params": pytest.approx(0.5 + 0.02 * strict, rel=1e-9)}
    row = solver.metrics()
    assert row["multiplier_loss_units"] == pytest.approx(row["multiplier"] * float(unit), rel=1e-6)


@pytest.mark.parametrize("scale", [37.0, 1e-3])
def test_at_lambda_one_the_pull_is_as_strong_as_the_loss(scale):
    problem = Problem(scale=scale, dtype=DOUBLE)
    solver = built(problem, 0.4)
    set_multipliers(solver, 1.0)
    found, before = problem.pull(solver)
    assert float(found.norm()) == pytest.approx(float(before.norm()), rel=1e-6)


def stepped(multiplier, log_alpha, **options):
    """lambda after one step from ``multiplier`` with all gates at ``log_alpha``, and the relative violation of 0.7."""
    problem = Problem()
    solver = built(problem, 0.7, dual_lr=0.01, **options)
    with torch.no_grad():
        problem.gates.log_alpha.fill_(log_alpha)
    set_multipliers(solver, multiplier)
    strict = float(Cost(problem.gates).fraction(problem.gates.open_mask())) / 0.7 - 1
    problem.pull(solver)
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
    def kept(*args, **options):
        """Whether lambda < 0 outlives a step in which nothing is violated from above."""
        problem = Problem(lenet)
        solver = built(problem, *args, restarts=False, **options)
        with torch.no_grad():
            problem.gates.log_alpha.fill_(-5.0)
        set_multipliers(solver, -0.5)
        problem.pull(solver)
        return min(solver.multipliers.values()) < 0

    assert kept(0.9)
    assert not kept(constraints=[Constraint(0.9, each_layer=True)])
    assert not kept(constraints=[Constraint(0.9), Constraint(0.9, "macs")])
    assert not kept(0.9, two_sided=False) and kept(constraints=[Constraint(0.9, each_layer=True)], two_sided=True)


def test_restarts_are_the_default_of_plain_ascent_alone():
    values = {}
    for dual in ("sgd", "nupi"):
        problem = Problem()
        solver = built(problem, 1.0, dual=dual)
        with torch.no_grad():
            problem.gates.log_alpha[0] = -5.0
        set_multipliers(solver, 0.5)
        problem.pull(solver)
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


@pytest.mark.parametrize(
    ("options", "length"),
    [({"total_steps": 20, "anneal_steps": 4}, 4), ({"anneal_steps": 7}, 7), ({"total_steps": 1}, 1)],
)
def test_the_target_has_come_down_after_its_length(options, length):
    problem = Problem()
    solver = lzero.Solver(problem.gates, 0.4, **options)
    problem.train(solver, length - 1)
    assert solver.metrics()["annealed_target"] > 0.4
    problem.train(solver, 1)
    assert solver.metrics()["annealed_target"] == 0.4


def test_a_schedule_of_ones_own_is_followed():
    problem = Problem()
    solver = lzero.Solver(problem.gates, 0.4, anneal_steps=10, schedule=lambda target, t: 1 - t * (1 - target))
    problem.train(solver, 5)
    assert solver.metrics()["annealed_target"] == pytest.approx(0.7)


@pytest.mark.parametrize("factor", [20.0, 0.05])
def test_the_losss_scale_does_not_change_the_trajectory(factor):
    one, scaled = (Problem(scale=scale, dtype=DOUBLE) for scale in (1.0, factor))
    trainers = [lzero.Solver(p.gates, 0.4, total_steps=60, dual_lr=0.05) for p in (one, scaled)]
    for step in range(40):
        for problem, trainer in zip((one, scaled), trainers, strict=True):
            torch.manual_seed(step)
            problem.train(trainer, 1)
    a, b = trainers[0].metrics(), trainers[1].metrics()
    assert a["multiplier"] > 0.01
    assert b["multiplier"] == pytest.approx(a["multiplier"], rel=1e-3)
    assert b["multiplier_loss_units"] == pytest.approx(factor * a["multiplier_loss_units"], rel=1e-2)
    assert torch.allclose(one.gates.log_alpha, scaled.gates.log_alpha, atol=1e-2)  # the epsilon of Adam


def test_layerwise_budgets_each_pull_on_their_own_gates():
    problem = Problem(lenet, dtype=DOUBLE)
    budgets = [Constraint(0.6, within="conv1"), Constraint(0.9, within="fc2")]
    solver = built(problem, constraints=budgets)
    assert list(solver.multipliers) == ["params/conv1", "params/fc2"]
    set_multipliers(solver, [1.0, 0.0])
    found, before = problem.pull(solver)
    pull = problem.gates.split(found)
    assert (pull["conv1"] > 0).all()
    assert all((pull[name] == 0).all() for name in ("conv2", "fc1", "fc1.input"))
    own = problem.gates.split(before)["conv1"]
    assert float(pull["conv1"].norm()) == pytest.approx(float(own.norm()), rel=1e-6)  # in units of its own part


def test_several_constraints_add_their_pulls():
    def pull(constraints, multipliers):
        problem = Problem(lenet, dtype=DOUBLE)
        solver = built(problem, constraints=constraints, two_sided=False)
        set_multipliers(solver, multipliers)
        return problem.pull(solver)[0], solver

    params, macs = Constraint(0.4), Constraint(0.5, "macs", each_layer=True)
    both, solver = pull([params, macs], [0.7, 0.2, 0.3, 0.4, 0.5])
    apart = pull([params], [0.7])[0] + pull([macs], [0.2, 0.3, 0.4, 0.5])[0]
    assert torch.allclose(both, apart, rtol=1e-9, atol=1e-13)
    names = ["params", "macs/conv1", "macs/conv2", "macs/fc1", "macs/fc2"]
    assert list(solver.multipliers) == names
    row = solver.metrics()
    assert {f"{name}:{column}" for name in names for column in ("target", "multiplier", "violation")} <= set(row)
    assert all(type(value) is float for value in row.values())
    assert solver.target_density is None


def test_the_expected_and_the_deployed_density_are_those_of_the_model():
    problem = Problem(lenet)
    solver = lzero.Solver(problem.gates, 0.6, measure="macs", anneal_steps=1)
    row, cost = solver.metrics(), Cost(problem.gates, "macs")
    assert row["expected"] == pytest.approx(float(cost.fraction(problem.gates.probability())))
    assert row["deployed"] == 1.0 and row["target"] == 0.6 and row["strict_violation"] == pytest.approx(0.4)
    assert solver.target_density == 0.6


@pytest.mark.parametrize("value", [40.0, -40.0])
def test_saturated_gates_give_finite_gradients(value):
    problem = Problem()
    solver = built(problem, 0.4)
    with torch.no_grad():
        problem.gates.log_alpha.fill_(value)
    set_multipliers(solver, 1.0)
    problem.pull(solver)
    assert torch.isfinite(problem.kept.gradient).all()
    assert all(math.isfinite(value) for value in solver.metrics().values())


def test_a_short_training_lands_near_its_target_and_ships_it(recwarn):
    problem = Problem(lambda: mlp((20, 30, 20, 3)))
    solver = lzero.Solver(problem.gates, 0.3, total_steps=400)
    problem.train(solver, 400)
    result = lzero.purge(problem.model)
    assert abs(solver.metrics()["deployed"] - 0.3) < 0.07
    assert 0 <= 0.3 - result.certificate.deployed["params"] < 0.06
    assert not recwarn.list and result.certificate.warnings == ()
