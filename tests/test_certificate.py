"""What the certificate says beside its numbers: nothing of a sound training, the reason of any other."""

import json
import re

import pytest
import torch
from torch import nn

import lzero
from lzero.certificate import asked_of, certify
from lzero.constraints import Budgets, Constraint
from lzero.settle import settle


def trained(steps=0, target=0.5, length=200):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
    gates = lzero.attach_gates(model, torch.zeros(2, 8))
    solver = lzero.Solver(gates, target, total_steps=length)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(16, 8)).pow(2).mean().backward()
        solver.step()
        optimizer.step()
    return gates


def certificate(gates, target=0.5):
    budgets = Budgets([Constraint(target)], gates)
    return certify(gates, budgets, settle(gates, budgets), None)


def test_a_whole_training_is_not_doubted_and_its_numbers_are_plain():
    found = certificate(trained(200))
    assert found.warnings == () and "warning" not in str(found)
    assert 0 <= found.asked["params"] - found.deployed["params"] < 11 / found.parameters_before
    assert found.parameters == round(found.deployed["params"] * found.parameters_before)
    assert json.loads(json.dumps(found.to_dict()))["asked"] == {"params": 0.5}


@pytest.mark.parametrize(
    ("steps", "reason"),
    [(0, "no step of a solver has moved these gates"), (20, r"training ended after 20 steps, .* \(which takes 100\)")],
)
def test_a_training_that_did_not_get_there_is_told_with_both_densities(steps, reason):
    found = certificate(trained(steps))
    (text,) = found.warnings
    assert f"warning: {text}" in str(found) and found.to_dict()["warnings"] == [text]
    assert re.search(reason, text)
    assert f"params: 50.00% asked, {found.before_settling['params']:.2%} before settling" in text


def test_what_was_asked_is_read_from_the_state_alone():
    gates = trained(3, target=0.4)
    assert asked_of(gates) == (Constraint(0.4),)
    saved = dict(gates.ledger)
    gates.ledger.begin()
    gates.ledger.bring(saved)
    assert not gates.ledger and asked_of(gates) == (Constraint(0.4),)
    gates.ledger.begin()
    assert asked_of(gates) == ()
