"""A training that gets cheaper on its way ships what any training ships: at its budget, within one unit of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from compacting import gated
from torch import nn
from torch.nn import functional as F

import lzero
from lzero.cost import Cost
from lzero.gates import Deterministic

STEPS = 240
X = torch.randn(64, 12, generator=torch.Generator().manual_seed(0))
Y = (X[:, :4].sum(1) > 0).long() + 2 * (X[:, 4] > 0).long()


def net(*widths: int) -> nn.Sequential:
    torch.manual_seed(0)
    one, two = widths or (40, 30)
    return nn.Sequential(nn.Linear(12, one), nn.ReLU(), nn.Linear(one, two), nn.ReLU(), nn.Linear(two, 4))


def train(
    target: Any,
    *,
    compacted: bool,
    finetune: float | None = None,
    seen: list[float] | None = None,
    round_to: int = 1,
    widths: tuple[int, ...] = (),
    estimator: Any = None,
) -> Any:
    model = net(*widths)
    gates = lzero.attach_gates(model, X[:2], round_to=round_to, estimator=estimator)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    compaction = lzero.Compaction(model, optimizer) if compacted else None
    constraints = target if isinstance(target, list) else [lzero.Constraint(target)]
    solver = lzero.Solver(gates, constraints=constraints, total_steps=STEPS, finetune=finetune, compaction=compaction)
    loss = torch.zeros(())
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(X), Y)  # the one before is alive until here
        loss.backward()
        optimizer.step()
        solver.step()
        if seen is not None:
            left = Cost(gates, "params").fraction(torch.ones(len(gates)))
            seen.append(float(left) - solver.metrics()["annealed_target"])
    return model, solver, compaction


def test_gates_without_noise_leave_the_training_too_and_ship_within_the_budget() -> None:
    model, _, compaction = train(0.2, compacted=True, estimator=Deterministic())
    assert sum(compaction.removed.values()) > 10
    assert 0 <= 0.2 - lzero.purge(model).certificate.deployed["params"] < 0.03


@pytest.mark.parametrize("widths", [(40, 30), (9, 120)], ids=["alike", "one costs many"])
@pytest.mark.parametrize("finetune", [None, 0.0])
@pytest.mark.parametrize("target", [0.5, 0.2, 0.1])
def test_what_is_shipped_meets_its_budget(target: float, finetune: float | None, widths: tuple[int, ...]) -> None:
    seen: list[float] = []
    model, solver, compaction = train(target, compacted=True, finetune=finetune, seen=seen, widths=widths)
    assert sum(compaction.removed.values()) > 10 or (target, finetune) == (0.5, 0.0)
    assert len(compaction.removed) <= 12
    # what is left could always meet the budget of its step to the full
    assert min(seen[: (solver.settles_at or STEPS) - 1]) >= 0
    gates = lzero.gates_of(model)
    result = lzero.purge(model)
    plan = gates.plan if gates.whole is None else gates.whole.plan
    spare = target - result.certificate.deployed["params"]
    opened = torch.cat([result.kept[name] for name in gates.slices])
    price = Cost(lzero.Gates(plan), "params")
    prices = (price.gradient(opened, 0) / price.total)[~opened]
    assert 0 <= spare < float(prices.min())
    assert result.certificate.parameters_before == sum(p.numel() for p in net(*widths).parameters())


def test_several_budgets_hold() -> None:
    asked = [lzero.Constraint(0.3), lzero.Constraint(0.4, "macs", within="2")]
    model, _, compaction = train(asked, compacted=True)
    assert compaction.removed
    result = lzero.purge(model)
    assert all(result.certificate.deployed[name] <= asked for name, asked in result.certificate.asked.items())


def test_once_settled_the_model_has_the_shape_of_what_is_shipped() -> None:
    model, _, compaction = train(0.2, compacted=True)
    assert max(compaction.removed) == STEPS * 0.8
    small = lzero.purge(model).model
    assert sorted(p.shape for p in small.parameters()) == sorted(p.shape for p in model.parameters())


def test_it_goes_on_where_it_was_saved() -> None:
    def begin() -> tuple[Any, ...]:
        model = net()
        gates = lzero.attach_gates(model, X[:2])
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        compaction = lzero.Compaction(model, optimizer)
        return model, optimizer, lzero.Solver(gates, 0.2, total_steps=STEPS, compaction=compaction)

    def go(model: Any, optimizer: Any, solver: Any, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            F.cross_entropy(model(X), Y).backward()
            optimizer.step()
            solver.step()

    one = begin()
    go(*one, 120)
    state = copy.deepcopy((one[0].state_dict(), one[1].state_dict(), torch.get_rng_state()))
    go(*one, 120)
    two = begin()
    two[0].load_state_dict(state[0])
    two[1].load_state_dict(state[1])
    torch.set_rng_state(state[2])
    go(*two, 120)
    assert len(lzero.gates_of(one[0])) < 70
    for (name, a), b in zip(one[0].state_dict().items(), two[0].state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_a_model_that_a_copy_follows_stays_with_it() -> None:
    model = net()
    gates = lzero.attach_gates(model, X[:2])
    average = torch.optim.swa_utils.AveragedModel(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    solver = lzero.Solver(
        gates, 0.2, total_steps=STEPS, compaction=lzero.Compaction(model, optimizer, copies=[average])
    )
    for _ in range(STEPS):
        optimizer.zero_grad()
        F.cross_entropy(model(X), Y).backward()
        optimizer.step()
        solver.step()
        average.update_parameters(model)
    assert len(lzero.gates_of(average)) == len(gates) < 70
    assert lzero.purge(average, constraints=solver.constraints).certificate.deployed["params"] <= 0.2


def test_mistakes_are_told() -> None:
    (model, gates), (other, _) = gated(), gated()
    optimizer, foreign = (torch.optim.Adam(net.parameters()) for net in (model, other))
    with pytest.raises(lzero.SolverError, match="its model has other gates"):
        lzero.Solver(gates, 0.3, total_steps=300, compaction=lzero.Compaction(other, foreign))
    with pytest.raises(lzero.StructureError, match="none of the optimizers has it"):
        lzero.Compaction(model, foreign)
    with pytest.raises(lzero.StructureError, match="none of the optimizers has it"):
        lzero.Compaction(model)
    with pytest.raises(lzero.SolverError, match=r"expected lzero\.Compaction"):
        lzero.Solver(gates, 0.3, total_steps=300, compaction="auto")  # type: ignore[arg-type]
    for options in ({"below": 0.5}, {"below": -1}, {"worth": 2.0}):
        with pytest.raises(lzero.StructureError, match="expected a"):
            lzero.Compaction(model, optimizer, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("finetune", [None, 0.0])
def test_widths_are_multiples_where_they_were_asked_for(finetune: float | None) -> None:
    """Units leave in whole steps, so that what is left has no other width than what was there."""
    model, _, compaction = train(0.2, compacted=True, finetune=finetune, round_to=8)
    assert compaction.removed
    gates = lzero.gates_of(model)
    for size, step, whole in zip(gates.sizes, gates.plan.steps.values(), (40, 30), strict=True):
        assert step == 8 and (size % 8 == 0 or size == whole)
    result = lzero.purge(model)
    widths = [int(mask.sum()) for mask in result.kept.values()]
    assert widths[0] % 8 == 0 and (widths[1] % 8 == 0 or widths[1] == 30)
    assert result.certificate.deployed["params"] <= 0.2 and result.certificate.round_to == 8
    assert 0 <= result.certificate.spare["params"] < 1
