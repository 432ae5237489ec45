"""Structured Bayesian pruning of a small MLP on digits: as published, and with a budget in the prior's place."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import lzero
from lzero.gates import LogNormal
from lzero.solver import Elbo

EPOCHS, BATCH, TRAIN = 40, 100, 1400
STEPS = EPOCHS * TRAIN // BATCH


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    x, y = torch.tensor(data.data, dtype=torch.float32)[order] / 16, torch.tensor(data.target)[order]
    return x[:TRAIN], y[:TRAIN], x[TRAIN:], y[TRAIN:]


def gated(per_example=False):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 60), nn.ReLU(), nn.Linear(60, 40), nn.ReLU(), nn.Linear(40, 10))
    gates = lzero.attach_gates(
        model,
        torch.zeros(2, 64),
        granularity="input",
        estimator=LogNormal(),
        open_probability=0.9,
        per_example=per_example,
    )
    return model, gates


def train(model, trainer, x, y):
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(EPOCHS):
        for batch in torch.randperm(TRAIN).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(x[batch]), y[batch]).backward()
            trainer.step()
            optimizer.step()


def accuracy(model, x, y):
    return float((model.eval()(x).argmax(1) == y).float().mean())


@pytest.mark.filterwarnings("ignore:Sequential. no budget:lzero.LzeroWarning")
@pytest.mark.parametrize("per_example", [False, True])
def test_the_published_objective_prunes_by_snr_and_purges_exactly(digits, per_example):
    x, y, x_test, y_test = digits
    model, gates = gated(per_example)
    elbo = Elbo(gates, TRAIN, warm_up_steps=STEPS // 2)
    assert elbo.metrics()["deployed"] == 1
    train(model, elbo, x, y)
    result = lzero.purge(model)
    assert accuracy(model, x_test, y_test) > 0.93
    assert 0.3 < result.certificate.deployed["params"] < 0.9
    assert torch.equal(torch.cat(list(result.kept.values())), LogNormal().snr(gates.log_alpha.detach()) > 1)
    assert torch.allclose(result.model(x_test), model.eval()(x_test), rtol=1e-4, atol=1e-4)


def test_a_budget_in_the_priors_place_ships_its_target(digits):
    x, y, x_test, y_test = digits
    model, gates = gated()
    solver = lzero.Solver(gates, target_density=0.3, total_steps=STEPS)
    train(model, solver, x, y)
    trained = solver.metrics()["deployed"]
    result = lzero.purge(model)
    assert 0 <= 0.3 - result.certificate.deployed["params"] < 0.02  # one unit costs less
    assert abs(trained - 0.3) < 0.08
    assert accuracy(result.model.eval(), x_test, y_test) > 0.85
    kept = torch.cat(list(result.kept.values()))
    with gates.fixed(gates.evaluate(kept)):
        assert torch.allclose(result.model(x_test), model.eval()(x_test), rtol=1e-4, atol=1e-4)
