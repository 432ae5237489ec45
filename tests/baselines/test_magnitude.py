"""Magnitude pruning against enumeration, what purging ships, and itself after a restart."""

import io

import numpy as np
import pytest
import torch
from baselines.problem import Problem, at_once
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import CASES, Truth, all_masks, lenet, mlp
from torch import nn
from torch.nn import functional as F

import lzero
from lzero.baselines import Magnitude
from lzero.constraints import Budgets, Constraint
from lzero.errors import BudgetError
from lzero.gates import Mask
from lzero.settle import settle
from lzero_lab.datasets import load


def best(truth, budgets, scores, floor):
    """The deployed set by definition: gates in the order of their scores, each that still fits, on top of ``floor``."""
    open_ = floor.copy()
    for gate in np.argsort(-scores, kind="stable"):
        trial = open_.copy()
        trial[gate] = True
        if all(fits(truth, trial) for fits in budgets):
            open_ = trial
    return open_


def limit(part, target, gates):
    def fits(truth, mask):
        full = truth.count(np.ones((1, gates), bool), part=part)[0]
        return truth.count(mask[None], part=part)[0] <= target * full

    return fits


@pytest.mark.parametrize("each_layer", [False, True], ids=["model", "layer"])
@pytest.mark.parametrize("case", ["units", "mlp", "weights", "reused", "batch_norm"])
@pytest.mark.parametrize("density", [0.62, 0.75, 0.9])
def test_the_best_gates_that_fit_are_open_and_no_other_fits(case, each_layer, density):
    problem = Problem(CASES[case])
    gates = problem.gates
    constraint = Constraint(density, each_layer=each_layer)
    trainer = at_once(problem, constraints=[constraint])
    scores = trainer.scores().numpy()
    floor = np.zeros(len(gates), bool)
    for where in gates.slices.values():
        floor[where.start + scores[where].argmax()] = True
    limits = [limit(part, target, len(gates)) for part, target in constraint.parts(gates).items()]
    truth = Truth.of(gates.plan, gates)
    expected = best(truth, limits, scores, floor)
    assert gates.open_mask().tolist() == expected.tolist()
    for gate in (~expected).nonzero()[0]:
        trial = expected.copy()
        trial[gate] = True
        assert not all(fits(truth, trial) for fits in limits)


def test_no_set_of_the_same_order_is_larger():
    """Against all masks: none that keeps the order of the scores costs more and fits."""
    problem = Problem(lambda: mlp(input_gates=False))
    trainer = at_once(problem, 0.6)
    scores, truth = trainer.scores().numpy(), Truth.of(problem.gates.plan, problem.gates)
    shipped = truth.count(problem.gates.open_mask().numpy()[None])[0]
    full = truth.count(np.ones((1, len(scores)), bool))[0]
    for mask in all_masks(len(scores)):
        alive = all(mask[where].any() for where in problem.gates.slices.values())
        ordered = not mask.any() or mask.all() or scores[mask].min() > scores[~mask].max()
        if alive and ordered and truth.count(mask[None])[0] <= 0.6 * full:
            assert truth.count(mask[None])[0] <= shipped


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")  # a budget of another trainer
@settings(max_examples=40, deadline=None)
@given(
    case=st.sampled_from(sorted(CASES)),
    density=st.floats(0.3, 1.0),
    criterion=st.sampled_from(["magnitude", "lamp", "random"]),
    seed=st.integers(0, 5),
)
def test_what_is_masked_is_what_settling_and_purging_ship(case, density, criterion, seed):
    problem = Problem(CASES[case], seed=seed)
    try:
        trainer = at_once(problem, density, criterion=criterion, seed=seed)
    except BudgetError:
        return
    gates = problem.gates
    settled = settle(gates, trainer.budgets)
    assert torch.equal(settled.open, gates.open_mask())
    assert (settled.moved, settled.threshold) == (0, 0.5)
    cost = trainer.budgets.cost
    assert float(cost.fraction(settled.open)) <= density
    price = float(cost.gradient(settled.open, 0).max() / cost.total)
    assert settled.open.all() or density - float(cost.fraction(settled.open)) < price + 1e-12
    result = lzero.purge(problem.model)
    assert result.certificate.deployed["params"] == pytest.approx(float(cost.fraction(settled.open)))


def test_several_budgets_hold_at_once():
    problem = Problem(lenet)
    at_once(problem, constraints=[Constraint(0.7), Constraint(0.9, "macs", each_layer=True)])
    deployed = lzero.purge(problem.model).certificate
    assert len(deployed.asked) == 5
    assert all(deployed.deployed[name] <= target for name, target in deployed.asked.items())


@pytest.mark.parametrize("criterion", ["magnitude", "lamp", "random"])
def test_seven_steps_and_seven_more_are_fourteen(criterion):
    def build():
        problem = Problem(lenet)
        return problem, problem.trainer(0.6, total_steps=14, end=0.8, every=3, criterion=criterion, seed=5)

    whole, trainer = build()
    whole.train(trainer, 7)
    file = io.BytesIO()
    torch.save([whole.model.state_dict(), whole.optimizer.state_dict()], file)
    whole.train(trainer, 7)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed, second = build()
    for target, state in zip((resumed.model, resumed.optimizer), saved, strict=True):
        target.load_state_dict(state)
    assert second.metrics()["annealed_target"] < 1 and second.steps == 7
    resumed.train(second, 7)
    one, two = whole.state(), resumed.state()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert one.keys() == two.keys() and trainer.metrics() == second.metrics() and second.steps == 14


def test_many_weights_keep_distinct_ranks():
    model = nn.Sequential(nn.Linear(1000, 500), nn.ReLU(), nn.Linear(500, 10))
    x = torch.randn(2, 1000)
    gates = lzero.attach_gates(model, x, granularity="weight", estimator=Mask())
    trainer = Magnitude(gates, 0.1, model=model, total_steps=10, schedule="one-shot", begin=0.0)
    model(x).sum().backward()
    trainer.step()
    assert len(torch.unique(gates.probability())) == len(gates) == 505_000
    assert int(gates.open_mask().sum()) + 510 == int(505_510 * 0.1)
    weight = torch.cat([model[i].parametrizations.weight.original.flatten() for i in (0, 2)]).abs()
    weight, open_ = weight.detach(), gates.open_mask()
    assert float(weight[open_].min()) >= float(weight[~open_].max())


def test_a_budget_of_the_constructor_is_the_one_that_purge_ships():
    problem = Problem(lenet)
    trainer = problem.trainer(0.6)
    assert isinstance(trainer.budgets, Budgets) and trainer.constraints == (Constraint(0.6),)
    problem.train(trainer, 10)
    certificate = lzero.purge(problem.model).certificate
    assert certificate.asked == {"params": 0.6} and certificate.deployed == certificate.before_settling
    assert not certificate.warnings


@pytest.mark.parametrize("granularity", ["input", "weight"])
def test_magnitude_beats_random_on_digits(granularity):
    data = load("digits")
    x, y = data.train_x.flatten(1), data.train_y

    def error(criterion):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 10))
        gates = lzero.attach_gates(model, x[:2], granularity=granularity, estimator=Mask())
        steps = 25 * len(torch.arange(len(x)).split(128))
        trainer = Magnitude(gates, 0.1, model=model, total_steps=steps, criterion=criterion, every=20)
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        while trainer.steps < steps:
            for batch in torch.randperm(len(x)).split(128):
                optimizer.zero_grad()
                F.cross_entropy(model(x[batch]), y[batch]).backward()
                trainer.step()
                optimizer.step()
        result = lzero.purge(model)
        assert result.certificate.threshold == 0.5 and result.certificate.moved == 0
        assert 0.098 < result.certificate.deployed["params"] <= 0.1
        predicted = result.model(data.validation_x.flatten(1)).argmax(1)
        return float((predicted != data.validation_y).float().mean())

    assert error("magnitude") < error("random") - 0.05


def test_a_step_changes_the_mask_and_nothing_else():
    problem = Problem(lenet)
    trainer = problem.trainer(0.5, every=1)
    problem.backward()
    grads = {name: p.grad.clone() for name, p in problem.model.named_parameters()}
    assert (trainer.gates.log_alpha.grad == 0).all()
    before, random = problem.state(), torch.get_rng_state()
    trainer.step(loss=1.0, closure=lambda: 1 / 0)
    assert trainer.gates.log_alpha.grad is None
    trainer.step()
    after = problem.state()
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert {name.rpartition(".")[2] for name in changed} == {"log_alpha", "steps"} and len(changed) == 2
    for name, parameter in problem.model.named_parameters():
        assert torch.equal(parameter.grad, grads[name])
    assert torch.equal(random, torch.get_rng_state())


@pytest.mark.parametrize(
    "build",
    [
        lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.5),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.5),
    ],
    ids=["adamw", "sgd"],
)
def test_no_optimizer_moves_the_mask(build):
    problem = Problem()
    problem.optimizer = build(problem.model.parameters())
    trainer = problem.trainer(0.5, total_steps=100, schedule="one-shot", begin=0.01)
    problem.train(trainer, 2)
    before = problem.gates.log_alpha.detach().clone()
    problem.train(trainer, 20)
    assert torch.equal(problem.gates.log_alpha, before)
