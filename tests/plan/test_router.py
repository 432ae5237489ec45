"""What is known of a router: where it goes with its group, and what of its experts counts as work."""

from __future__ import annotations

import pytest
import torch
from plans import all_masks, chances, column

from lzero.cost import Cost
from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.plan.block import Block
from lzero.plan.group import GateGroup, Member
from lzero.plan.ownership import working
from lzero.plan.plan import Plan
from lzero.plan.record import record, unrecorded
from lzero.plan.router import Router

SHAPES = {"moe.gate.w": (3, 4), "moe.up": (3, 5, 4), "moe.down": (3, 4, 5)}


def mixture(sparse: bool, listed: bool = False) -> Plan:
    """Three experts, and the units inside that they share; or experts of one tensor each."""
    router = Router("moe.gate", "moe.gate.w", (("moe", "top_k"),), sparse)
    shapes = {"moe.gate.w": (3, 4)} if listed else SHAPES
    rows = [Member(name, 0, column(3), "coupled") for name in shapes]
    blocks: tuple[Block, ...] = ()
    if listed:
        shapes = {**shapes, **{f"moe.e.{n}.w": (n + 2, 4) for n in range(3)}}
        blocks = tuple(Block(f"moe.e.{n}", "removed", (f"moe.e.{n}.w",)) for n in range(3))
    groups = [GateGroup("moe.gate", 3, "expert", tuple(rows), blocks=blocks, router=router)]
    if not listed:
        inside = (Member("moe.up", 1, column(5), "producer"), Member("moe.down", 2, column(5), "consumer"))
        groups.insert(0, GateGroup("moe", 5, "unit", inside))
    positions = {name: 8.0 if name == "moe.gate.w" else 2.5 for name in shapes}
    return Plan(tuple(groups), (), shapes, positions)


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_parameters_and_work_are_those_counted_by_hand(sparse: bool, listed: bool) -> None:
    gates = Gates(mixture(sparse, listed))
    masks = all_masks(len(gates))
    p = torch.rand(len(gates), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    params, work = [], []
    for mask in masks:
        keep = gates.split(torch.from_numpy(mask))
        experts = keep["moe.gate"]
        left = int(experts.sum())
        if listed:
            inside, alone = sum(4 * (n + 2) for n in range(3) if experts[n]), sum(4 * (n + 2) for n in range(3))
        else:
            units = int(keep["moe"].sum())
            inside, alone = left * 2 * 4 * units, 3 * 2 * 4 * units
        params.append(4 * left + inside)
        work.append(8 * 4 * left + 2.5 * (alone if sparse else inside))
    for measure, counts in (("params", params), ("macs", work)):
        cost, truth = Cost(gates, measure), torch.tensor(counts, dtype=torch.float64)  # type: ignore[arg-type]
        found = torch.cat([cost.value(torch.from_numpy(mask)) for mask in masks])
        assert torch.equal(found, truth)
        assert float(cost.value(p)) == pytest.approx(float(torch.from_numpy(chances(p, masks)) @ truth), rel=1e-12)
        settings = [gates.split(torch.from_numpy(mask)) for mask in masks]
        deployable = torch.tensor([all(bool(m.any()) for m in setting.values()) for setting in settings])
        least = float(truth[deployable].min() / truth.max())
        assert gates.plan.floor(measure) == pytest.approx(least, rel=1e-12)  # type: ignore[arg-type]


def test_each_expert_is_one_gate_of_the_measure_of_gates() -> None:
    for listed in (False, True):
        gates = Gates(mixture(sparse=True, listed=listed))
        cost = Cost(gates, "gates", [("",), ("moe.gate",)])
        assert cost.total.tolist() == [3.0 if listed else 8.0, 3.0]


def test_work_of_other_groups_is_counted_as_it_is() -> None:
    plan = mixture(sparse=True)
    units, experts = working(plan.groups)
    assert units is plan.groups[0] and [m.tensor for m in experts.members] == ["moe.gate.w"]
    every = mixture(sparse=False)
    assert working(every.groups) == list(every.groups)


@pytest.mark.parametrize("listed", [False, True])
def test_a_recorded_plan_has_its_routers(listed: bool) -> None:
    plan = mixture(sparse=True, listed=listed)
    again = Plan(**unrecorded(record(plan.__getstate__())))
    assert [group.router for group in again] == [group.router for group in plan]
    assert [group.blocks for group in again] == [group.blocks for group in plan]
    assert str(again) == str(plan) and "3 experts" in str(plan)


@pytest.mark.parametrize("damage", [None, 3, ["a"], ["a", "b", [["c"]], True], ["a", "b", [], 1]])
def test_a_damaged_router_is_refused(damage: object) -> None:
    content = record(mixture(sparse=True).__getstate__())
    content["groups"][1][-1] = damage
    with pytest.raises(StructureError, match=r"groups\[1\] router"):
        unrecorded(content)


def test_below_a_module_its_names_are_shorter() -> None:
    router = Router("a.moe.gate", "a.moe.gate.w", (("a.moe", "top_k"),), True)
    assert router.below("a") == Router("moe.gate", "moe.gate.w", (("moe", "top_k"),), True)
    assert router.below("") == router
