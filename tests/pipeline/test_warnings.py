"""The certificate says of every broken training that settling has chosen what is shipped, and of no sound one."""

import pytest
import torch
from pipeline.loop import BATCHES, batches, gated, train
from torch.nn import functional as F

import lzero
from lzero.gates import AR, Deterministic, HardConcrete, StraightThrough


def trained(target, steps, planned=None, seed=0, loss=1.0, options=None, **solver):
    model, gates = gated(seed=seed, **(options or {}))
    solver = lzero.Solver(gates, target, **{"total_steps": planned or steps, **solver})
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for x, y in batches(steps, seed):
        optimizer.zero_grad()
        value = F.cross_entropy(model(x), y) * loss
        value.backward()
        solver.step(value.detach())
        optimizer.step()
    return model


def untrained():
    model, gates = gated()
    lzero.Solver(gates, 0.1, total_steps=1000)
    return model


def loop_without_step():
    model, gates = gated()
    lzero.Solver(gates, 0.1, total_steps=400)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for x, y in batches(100):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


def every_tenth_step():
    model, gates = gated()
    solver = lzero.Solver(gates, 0.1, total_steps=400)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for number, (x, y) in enumerate(batches(400)):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        if number % 10 == 0:
            solver.step()
        optimizer.step()
    return model


def penalized(coefficient):
    model, gates = gated()
    train(model, lzero.Penalty(gates, coefficient), 200)
    return model, [lzero.Constraint(0.1)]


def all_skipped():
    model, gates = gated()
    solver = lzero.Solver(gates, 0.1, total_steps=40)
    for x, y in batches(40):
        (F.cross_entropy(model(x), y) * float("nan")).backward()
        solver.step()
        model.zero_grad()
    return model


def another_budget_at_the_end():
    return trained(0.5, 200), [lzero.Constraint(0.1)]


def frozen_after_a_while():
    model, gates = gated()
    solver = lzero.Solver(gates, 0.1, total_steps=400)
    train(model, solver, 60)
    return model


BROKEN = {
    "no step": untrained,
    "loop without step": loop_without_step,
    "every tenth step": every_tenth_step,
    "one epoch as one step": lambda: trained(0.1, 10, planned=10),
    "epochs for steps": lambda: trained(0.1, 30, planned=30),
    "twenty steps": lambda: trained(0.3, 20),
    "cut at a tenth": lambda: trained(0.1, 100, planned=1000),
    "cut at a quarter": lambda: trained(0.3, 100, planned=400),
    "cut at four tenths": lambda: trained(0.1, 160, planned=400),
    "gates too slow": lambda: trained(0.1, 200, gate_lr=1e-3),
    "gates hardly move": lambda: trained(0.3, 300, gate_lr=1e-4),
    "multiplier too slow": lambda: trained(0.1, 200, dual_lr=1e-5),
    "no scale": lambda: trained(0.1, 200, scale=False, dual_lr=1e-4),
    "anneal too long": lambda: trained(0.1, 200, planned=None, anneal_steps=2000),
    "penalty too weak": lambda: penalized(1e-4),
    "penalty too strong": lambda: penalized(100.0),
    "all steps skipped": all_skipped,
    "another budget": another_budget_at_the_end,
    "stopped early": frozen_after_a_while,
}
SOUND = {
    "200 at 10 %": lambda: trained(0.1, 200),
    "200 at 30 %": lambda: trained(0.3, 200),
    "200 at 50 %": lambda: trained(0.5, 200),
    "300 at 20 %": lambda: trained(0.2, 300, seed=1),
    "430 at 5 %": lambda: trained(0.05, 10 * BATCHES),
    "430 at 10 %": lambda: trained(0.1, 10 * BATCHES, seed=2),
    "430 at 80 %": lambda: trained(0.8, 10 * BATCHES),
    "860 at 10 %": lambda: trained(0.1, 20 * BATCHES),
    "macs": lambda: trained(0.2, 300, measure="macs"),
    "gates": lambda: trained(0.2, 300, measure="gates"),
    "loss times 100": lambda: trained(0.1, 300, loss=100.0),
    "loss times 0.01": lambda: trained(0.1, 300, loss=0.01),
    "straight through": lambda: trained(0.2, 430, options={"estimator": StraightThrough()}),
    "deterministic": lambda: trained(0.2, 430, options={"estimator": Deterministic()}),
    "ar": lambda: trained(0.3, 430, options={"estimator": AR()}),
    "median": lambda: trained(0.2, 300, options={"estimator": HardConcrete(evaluate="median")}),
    "inputs": lambda: trained(0.2, 430, options={"granularity": "input"}),
    "tuned": lambda: trained(0.2, 400, finetune=0.2),
    "longer than planned": lambda: trained(0.2, 500, planned=300),
    "from 80 % on": lambda: trained(0.3, 240, planned=300),
    "open end": lambda: trained(0.2, 400, planned=None, anneal_steps=200, total_steps=None),
}


def certificate(made):
    model, constraints = made if isinstance(made, tuple) else (made, None)
    return lzero.purge(model, constraints=constraints).certificate


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_training_is_flagged(name):
    found = certificate(BROKEN[name]())
    assert len(found.warnings) == 1, f"{found}"
    assert "settling, and not the training, has chosen what is shipped" in found.warnings[0]
    assert found.deployed["params"] <= found.asked["params"]


@pytest.mark.slow
@pytest.mark.parametrize("name", SOUND)
def test_a_sound_training_is_not(name, recwarn):
    found = certificate(SOUND[name]())
    assert not found.warnings, f"{found}"
    assert not [w for w in recwarn if issubclass(w.category, lzero.LzeroWarning)]
