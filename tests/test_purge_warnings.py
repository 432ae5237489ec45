"""What purging says of a training: each warning where it belongs, and none of a training that got there."""

import json
import warnings

import pytest
import torch
from plans import Mlp, lenet, mlp
from solver.problem import Problem, set_multipliers
from torch import nn

import lzero
from lzero.constraints import Constraint
from lzero.gates import Mask


def wide():
    return mlp((20, 30, 20, 3))


def purged(model, **options):
    """The result, and the texts that were warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = lzero.purge(model, **options)
    found = [warning for warning in caught if warning.category is lzero.LzeroWarning]
    assert all(warning.filename == __file__ for warning in found)  # where the user called it
    texts = tuple(str(warning.message).partition(": ")[2] for warning in found)
    assert texts == result.certificate.warnings
    assert json.loads(json.dumps(result.certificate.to_dict()))["warnings"] == list(texts)
    assert all(f"warning: {text}" in str(result.certificate) for text in texts)
    return result, texts


def test_no_budget():
    problem = Problem()
    result, (text,) = purged(problem.model)
    assert text.startswith("no budget was given, and whatever is open is shipped: 100.00% of the parameters; build ")
    assert "purge(model, constraints=[...])" in text and result.certificate.asked == {}


def test_a_penalty_has_no_budget_and_no_cure_is_offered():
    problem = Problem()
    problem.train(lzero.Penalty(problem.gates, 0.1), 3)
    _, (text,) = purged(problem.model)
    assert text.startswith("no budget was given, and whatever is open is shipped") and text.endswith("parameters")


def test_no_step():
    problem = Problem(wide)
    lzero.Solver(problem.gates, 0.3, total_steps=100)
    for _ in range(100):
        problem.backward()
        problem.optimizer.step()
    result, (text,) = purged(problem.model)
    assert "(params: 30.00% asked, 100.00% before settling): no step of a solver has moved these gates" in text
    assert 0 <= 0.3 - result.certificate.deployed["params"] < 0.06


def test_a_training_that_ended_before_the_target_had_come_down():
    problem = Problem(wide)
    problem.train(lzero.Solver(problem.gates, 0.3, total_steps=1000), 20)
    _, (text,) = purged(problem.model)
    assert "training ended after 20 steps, before the target had come down (which takes 500): pass the number" in text


def test_a_training_whose_gates_did_not_follow():
    problem = Problem(wide)
    problem.train(lzero.Solver(problem.gates, 0.3, total_steps=30, gate_lr=1e-5), 30)
    _, (text,) = purged(problem.model)
    assert text == (
        "settling, and not the training, has chosen what is shipped (params: 30.00% asked, 100.00% before settling): "
        "the training was too short for it: train for more steps"
    )


@pytest.mark.parametrize("value", [31.0, -45.0])
def test_a_multiplier_that_has_run_away(value):
    problem = Problem(wide)
    solver = lzero.Solver(problem.gates, 0.3, total_steps=400)
    problem.train(solver, 400)
    set_multipliers(solver, value)
    _, (text,) = purged(problem.model)
    assert f"the multiplier has risen to {abs(value):.0f}, so that gates do not follow it: train longer" in text


@pytest.mark.parametrize(
    "budgets",
    [
        [Constraint(0.3)],
        [Constraint(0.4, "macs")],
        [Constraint(0.5, each_layer=True), Constraint(0.35)],
        [Constraint(0.5), Constraint(0.99, "macs")],
    ],
)
def test_a_training_that_got_there_says_nothing(budgets):
    problem = Problem(wide)
    problem.train(lzero.Solver(problem.gates, constraints=budgets, total_steps=500), 500)
    _, texts = purged(problem.model)
    assert texts == ()


def test_a_training_with_a_hold_has_the_numbers_from_before_it_also_in_another_process():
    problem = Problem(wide)
    solver = lzero.Solver(problem.gates, 0.3, total_steps=400, finetune=0.25)
    problem.train(solver, 400)
    result, texts = purged(problem.model)
    assert texts == ()
    other = Problem(wide)
    other.model.load_state_dict(problem.model.state_dict())
    again, texts = purged(other.model)
    assert texts == () and again.certificate == result.certificate
    assert result.certificate.before_settling["params"] == pytest.approx(0.3, abs=0.08)
    one, two = problem.model.state_dict(), other.model.state_dict()
    assert set(one) == set(two) and all(torch.equal(one[key], two[key]) for key in one)


def test_a_short_hold_says_how_far_it_was():
    problem = Problem(wide)
    solver = lzero.Solver(problem.gates, 0.3, total_steps=30, gate_lr=1e-5, finetune=0.2)
    problem.train(solver, 30)
    result, (text,) = purged(problem.model)
    assert "30.00% asked, 100.00% before settling" in text
    assert result.certificate.before_settling["params"] == 1.0 and result.certificate.moved > 0


def test_a_pruned_model_is_judged_as_others():
    from lzero.baselines import Magnitude

    problem = Problem(wide, estimator=Mask())
    trainer = Magnitude(problem.gates, 0.3, model=problem.model, total_steps=40, every=5)
    problem.train(trainer, 40)
    result, texts = purged(problem.model)
    assert texts == () and 0 <= 0.3 - result.certificate.deployed["params"] < 0.06


def test_budgets_given_at_the_end_are_what_counts():
    problem = Problem(wide)
    problem.train(lzero.Solver(problem.gates, 0.3, total_steps=400), 400)
    result, texts = purged(problem.model, constraints=[Constraint(0.1)])
    assert len(texts) == 1 and "10.00% asked" in texts[0]
    assert result.certificate.asked == {"params": 0.1} and result.certificate.deployed["params"] <= 0.1


@pytest.mark.parametrize("wrong", [[], "params", 0.5, [0.5], object(), {"params": 0.5}])
def test_budgets_that_are_none_are_refused(wrong):
    with pytest.raises(lzero.BudgetError, match=r"purge: expected constraints=\[lzero\.Constraint"):
        lzero.purge(Problem().model, constraints=wrong)


@pytest.mark.parametrize("wrong", [None, 3, "model", torch.zeros(2), nn.Linear])
def test_what_is_no_model_is_refused(wrong):
    with pytest.raises(lzero.StructureError, match="purge: expected a model with gates attached, found"):
        lzero.purge(wrong)


@pytest.mark.parametrize("option", ["settle", "verify"])
@pytest.mark.parametrize("wrong", [1, "yes", None])
def test_flags_are_true_or_false(option, wrong):
    with pytest.raises(lzero.StructureError, match=f"{option}: expected True or False, found"):
        lzero.purge(Problem().model, **{option: wrong})


def test_the_example_of_the_package_trains_without_a_warning(recwarn):
    torch.manual_seed(0)
    model = Mlp((8, 32, 24, 3))
    x, y = torch.randn(64, 8), torch.randn(64, 3)
    gates = lzero.attach_gates(model, x)
    solver = lzero.Solver(gates, target_density=0.30, total_steps=400)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(400):
        optimizer.zero_grad()
        (model(x) - y).pow(2).mean().backward()
        solver.step()
        optimizer.step()
    certificate = lzero.purge(model).certificate
    assert not [w for w in recwarn if w.category is lzero.LzeroWarning]
    assert 0 <= 0.3 - certificate.deployed["params"] < 0.05


def test_convolutions_too():
    problem = Problem(lambda: lenet(6, 8, 10))
    problem.train(lzero.Solver(problem.gates, 0.4, total_steps=400), 400)
    assert purged(problem.model)[1] == ()
