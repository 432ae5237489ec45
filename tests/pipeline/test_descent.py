"""Whole descents: on digits, 72 models of 24 trainings, and over two processes."""

import copy
import itertools
import warnings

import pytest
import torch
from pipeline.loop import TRAIN, accuracy, digits, gated, mlp, train
from processes import run
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

import lzero
from lzero.constraints import Budgets, Constraint
from lzero.errors import LzeroWarning
from lzero.settle import breaking

TARGETS, STEPS = (0.5, 0.25, 0.1), 80  # a stage


class Shipping:
    """A descent that ships whatever is due, after the optimizer's step."""

    def __init__(self, model, descent):
        self.model, self.descent, self.results = model, descent, []

    def step(self):
        self.ship()
        self.descent.step()

    def ship(self):
        if self.descent.due:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", LzeroWarning)  # trainings of a few steps
                self.results.append((self.descent.constraints, lzero.purge(self.model)))


@pytest.mark.slow
def test_72_of_72_models_are_at_their_budget_and_within_one_unit_of_it():
    exact = []
    kinds = itertools.product(("params", "macs"), (False, True), (0.2, 0.0), range(3))
    for measure, each_layer, finetune, seed in kinds:
        model, gates = gated(seed=seed)
        targets = [[Constraint(target, measure, each_layer=each_layer)] for target in TARGETS]
        descent = lzero.Descent(gates, targets, total_steps=3 * STEPS, finetune=finetune)
        shipping = Shipping(model, descent)
        train(model, shipping, 3 * STEPS, seed=seed)
        shipping.ship()
        for constraints, result in shipping.results:
            budgets, open_ = Budgets(constraints, gates), torch.cat(list(result.kept.values()))
            exact.append(budgets.met(open_) and bool(breaking(budgets, open_)[~open_].all()))
    assert exact == [True] * 72


def descending(rank):
    """A descent in one go, and one that stops within its second stage, of which one process has the state."""
    x, y = digits()

    def build(seed):
        torch.manual_seed(seed)
        model = mlp(40, 20)
        gates = lzero.attach_gates(model, torch.zeros(2, 64))
        return model, gates, lzero.Descent(gates, TARGETS, total_steps=3 * STEPS)

    def go(wrapped, descent, optimizer, first, last):
        shipped = []
        for number in range(first, last):
            torch.manual_seed(1000 * rank + number)
            chosen = torch.randint(TRAIN, (32,))
            F.cross_entropy(wrapped(x[chosen]), y[chosen]).backward()
            descent.step()
            optimizer.step()
            optimizer.zero_grad()
            if descent.due:
                shipped.append(lzero.purge(wrapped).certificate.deployed["params"])
        return shipped

    warnings.simplefilter("ignore", LzeroWarning)
    model, gates, descent = build(rank)
    wrapped, half = DistributedDataParallel(model), STEPS + STEPS // 2
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    shipped = go(wrapped, descent, optimizer, 0, half)
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    shipped += go(wrapped, descent, optimizer, half, 3 * STEPS)
    whole = gates.log_alpha.detach().clone(), gates.held.clone()

    model, gates, descent = build(rank + 10)
    others = {name: tensor for name, tensor in saved[0].items() if not name.startswith("lzero.")}
    model.load_state_dict(saved[0] if rank == 0 else others)  # what the training keeps comes from the first process
    wrapped = DistributedDataParallel(model)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    optimizer.load_state_dict(saved[1])
    again = go(wrapped, descent, optimizer, half, 3 * STEPS)
    assert torch.equal(whole[0], gates.log_alpha) and torch.equal(whole[1], gates.held)
    assert shipped[1:] == again and descent.steps == 3 * STEPS
    return {"gates": whole[0], "shipped": shipped}


@pytest.mark.slow
def test_two_processes_descend_alike_and_resume_to_the_bit(tmp_path):
    first, second = run(tmp_path, descending)
    assert len(first["shipped"]) == 3 and first["shipped"] == second["shipped"]
    assert torch.equal(first["gates"], second["gates"])
    assert all(0 <= target - density < 0.02 for target, density in zip(TARGETS, first["shipped"], strict=True))


@pytest.mark.slow
def test_a_descent_with_batch_norm_ships_what_it_held():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 40), nn.BatchNorm1d(40), nn.ReLU(), nn.Linear(40, 10))
    gates = lzero.attach_gates(model, torch.randn(4, 64))
    descent = lzero.Descent(gates, (0.6, 0.4, 0.25), total_steps=6 * STEPS)
    shipping = Shipping(model, descent)
    train(model, shipping, 6 * STEPS)
    shipping.ship()
    assert [accuracy(result.model) > 0.7 for _, result in shipping.results] == [True] * 3
