"""Experts in a model: left out by hooks, cut by purging, put back from what was saved, and no trace once detached."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from mixtures import BUILD, Listed, Network
from plans import same, snapshot
from torch import nn

import lzero
from lzero.errors import StructureError
from lzero.plan.group import GateGroup
from lzero.plan.router import Router
from lzero.surgery.routings import remove_routings, route_around, routing_modules
from lzero.surgery.shrink import shrink

DOUBLE = torch.float64
PLANS: dict[str, Any] = {}


def planned(name: str) -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    model = BUILD[name]().double()
    if name not in PLANS:
        PLANS[name] = lzero.discover(model, torch.randn(40, 4, dtype=DOUBLE), granularity="experts")
    return model, PLANS[name]


def closing(plan: Any, seed: int) -> dict[str, torch.Tensor]:
    """Masks with at least one open each, of all groups."""
    generator, found = torch.Generator().manual_seed(seed), {}
    for group in plan:
        keep = torch.rand(group.size, generator=generator) < torch.rand((), generator=generator)
        keep[torch.randint(group.size, (), generator=generator)] = True
        found[group.name] = keep
    return found


@pytest.mark.parametrize("name", BUILD)
def test_what_is_left_out_is_what_is_cut(name: str) -> None:
    model, plan = planned(name)
    experts = [group for group in plan if group.kind == "expert"]
    assert len(experts) == len(model.layers)  # type: ignore[arg-type]
    for seed in range(6):
        keep = closing(experts, seed)
        gated, small = copy.deepcopy(model), copy.deepcopy(model)
        route_around(gated, experts, {name: mask.double() for name, mask in keep.items()})
        shrink(small, experts, keep)
        for fresh in (torch.randn(3, 7, 4, dtype=DOUBLE), torch.randn(2, 4, dtype=DOUBLE)):
            torch.testing.assert_close(gated(fresh), small(fresh), rtol=1e-12, atol=1e-12)
        remove_routings(gated)
        assert torch.equal(gated(fresh), model(fresh))


def test_the_choice_is_of_no_more_experts_than_there_are() -> None:
    model, plan = planned("listed, top 3 as they are")
    (group,) = [group for group in plan if group.kind == "expert"]
    shrink(model, [group], {group.name: torch.tensor([False, True, False, False, True])})
    layer: Any = model.layers[0]  # type: ignore[index]
    assert (layer.num_experts, layer.top_k, len(layer.experts), layer.gate.out_features) == (2, 2, 2, 2)
    assert [name for name, _ in layer.experts.named_children()] == ["0", "1"]


@pytest.mark.parametrize("name", ["both", "listed, top 2", "stacked, top 2"])
def test_attaching_and_detaching_leaves_no_trace(name: str) -> None:
    model, plan = planned(name)
    before = snapshot(model)
    lzero.attach_gates(model, plan, rescale=False, open_probability=0.999)
    with torch.no_grad():
        lzero.gates_of(model).log_alpha.fill_(50.0)  # type: ignore[union-attr]
    lzero.detach_gates(model)
    same(before, snapshot(model))


def test_closed_experts_cannot_be_left_out_without_gates() -> None:
    model, plan = planned("stacked, top 1")
    gates = lzero.attach_gates(model, plan)
    with torch.no_grad():
        gates["layers.0.router"][0] = -9.0
    with pytest.raises(StructureError, match=r"layers.0.router: whole experts of it are closed"):
        lzero.detach_gates(model)


def test_a_model_whose_gates_are_on_experts_alone_has_them_in_its_state_dict() -> None:
    torch.manual_seed(0)
    model = Listed(top=1, renormalised=False)
    x = torch.randn(30, 6)
    plan = lzero.discover(model, x, granularity="experts", ignore=[f"experts.{n}" for n in range(5)])
    assert not len(plan)  # what is ignored leaves with no expert either
    plan = lzero.discover(model, x, granularity="experts")
    alone = lzero.Plan(tuple(g for g in plan if g.kind == "expert"), (), plan.shapes, plan.positions, example_inputs=x)
    gates = lzero.attach_gates(model, alone)
    assert [name for name in model.state_dict() if name.endswith("log_alpha")]
    assert lzero.gates_of(copy.deepcopy(model)) is not gates
    model(x).sum().backward()
    assert gates.log_alpha.grad is not None


@pytest.mark.parametrize("name", ["both", "listed, top 2", "stacked, top 2"])
@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
def test_a_purged_mixture_is_saved_loaded_and_purged_again(name: str, tmp_path: Any) -> None:
    model, plan = planned(name)
    x, example = torch.randn(3, 5, 4, dtype=DOUBLE), torch.randn(40, 4, dtype=DOUBLE)
    for turn in range(2):
        plan = plan if not turn else lzero.discover(model, example, granularity="experts")
        gates = lzero.attach_gates(model, plan)
        with torch.no_grad():
            gates.log_alpha.copy_(torch.randn(len(gates), generator=torch.Generator().manual_seed(turn)) * 3 + 1)
        result = lzero.purge(model)
        torch.testing.assert_close(result.model(x), model.eval()(x), rtol=1e-12, atol=1e-12)
        lzero.save_purged(result, tmp_path / str(turn))
        for saved in (result.model.state_dict(), *([tmp_path / str(turn)] if not turn else [])):
            fresh = lzero.load_purged(BUILD[name]().double(), saved)
            assert torch.equal(fresh(x), result.model(x))
        model = result.model


def test_a_state_dict_of_other_experts_is_refused() -> None:
    model, plan = planned("listed, top 2")
    keep = closing(plan, 0)
    shrink(model, plan.groups, keep)
    fresh = Network(Listed(experts=2, top=1), Listed(experts=2, top=1)).double()
    before = snapshot(fresh)
    with pytest.raises(StructureError, match="purged_experts: the saved model kept entries that this one lacks"):
        lzero.load_purged(fresh, model.state_dict())
    same(before, snapshot(fresh))


def test_a_model_without_the_router_of_its_plan_is_refused() -> None:
    group = GateGroup("gate", 2, "expert", (), router=Router("gate", "gate.weight"))
    with pytest.raises(StructureError, match="gate: the plan says that experts are chosen here"):
        routing_modules(nn.Linear(2, 2), [group])
