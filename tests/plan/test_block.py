"""What a closed block takes with it: counted, kept in a plan, and owned by what it lies in."""

from __future__ import annotations

import copy
import itertools
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from many_axes import many_axes
from plans import Truth, all_masks

from lzero.gates.gates import Gates
from lzero.plan.block import Block
from lzero.plan.group import GateGroup, Member
from lzero.plan.ownership import leaving, parameters_left, reach
from lzero.plan.plan import Plan


@settings(max_examples=80, deadline=None)
@given(many_axes(), st.integers(0, 1000))
def test_what_is_left_and_what_can_leave_are_counted_element_by_element(plan: Any, seed: int) -> None:
    gates = Gates(plan)
    truth, masks = Truth.of(plan, gates), all_masks(len(gates))
    for row in {0, len(masks) - 1, seed % len(masks), 7 * seed % len(masks)}:
        open_ = gates.alive(torch.from_numpy(masks[row]))
        keep = gates.split(open_)
        assert parameters_left(plan.groups, keep, plan.shapes) == truth.count(open_.numpy()[None])[0]
        closed = [block for group in plan for at, block in enumerate(group.blocks) if not keep[group.name][at]]
        gone = {name for block in closed for name in block.tensors}
        assert leaving(plan.groups, keep) == gone
    assert reach(plan.groups, plan.shapes) == sum(int(needs.any(1).sum()) for needs in truth.needs.values())


def net(costs: Any, branches: bool = False) -> Plan:
    """Blocks of one tensor for each of some costs, and a branch in every one with another tensor."""
    blocks, inner, shapes = [], [], {"head": (2, 3)}
    for number, (own, branch) in enumerate(costs):
        shapes |= {f"net.{number}.w": (own,), f"net.{number}.a.w": (branch,)}
        blocks.append(Block(f"net.{number}", "identity", (f"net.{number}.w", f"net.{number}.a.w")))
        inner.append(Block(f"net.{number}.a", "zero", (f"net.{number}.a.w",)))
    groups = [GateGroup("net", len(blocks), "depth", (), blocks=tuple(blocks))]
    if branches:
        groups.insert(0, GateGroup("net.a", len(inner), "depth", (), blocks=tuple(inner)))
    hidden = Member("head", 1, torch.arange(3)[:, None], "consumer")
    groups.append(GateGroup("hidden", 3, "unit", (hidden,)))
    return Plan(tuple(groups), (), shapes, dict.fromkeys(shapes, 2))


COSTS = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(COSTS, st.booleans(), st.sampled_from(["params", "macs"]))
def test_the_floor_is_the_smallest_of_all_closures(costs: Any, branches: bool, measure: Any) -> None:
    plan = net(costs, branches)
    gates = Gates(plan)
    alive = [gates.alive(torch.tensor(mask)) for mask in itertools.product((True, False), repeat=len(gates))]
    deployable = [open_ for open_ in alive if all(bool(mine.any()) for mine in gates.split(open_).values())]
    counts = Truth.of(plan, gates).count(torch.stack(deployable).numpy(), measure)
    assert plan.floor(measure) == pytest.approx(counts.min() / counts.max(), abs=1e-12)
    assert sum(plan.floor_parts(measure).values()) == pytest.approx(plan.floor(measure), abs=1e-12)
    assert plan.left(1.0, measure) == 1.0


def test_half_of_the_blocks_are_the_cheaper_half() -> None:
    plan = net([(5, 1), (1, 1), (9, 9), (2, 1)])
    assert plan.left(0.5) == pytest.approx((2 + 3 + 2 * 2) / plan.parameters)


def test_of_blocks_in_blocks_the_cheapest_way_through_stays() -> None:
    """The first outer block is the larger one, but most of it leaves with its inner blocks."""
    outer = {"net.0": ["net.0.in.0.w", "net.0.in.1.w"], "net.1": ["net.1.w"]}
    inner = {"net.0.in.0": ["net.0.in.0.w"], "net.0.in.1": ["net.0.in.1.w"]}
    groups = [
        GateGroup(name, 2, "depth", (), blocks=tuple(Block(p, "identity", tuple(t)) for p, t in blocks.items()))
        for name, blocks in (("net", outer), ("net.0.in", inner))
    ]
    plan = Plan(tuple(groups), (), {"net.0.in.0.w": (50,), "net.0.in.1.w": (2,), "net.1.w": (10,)}, {})
    assert plan.floor() == pytest.approx(2 / 62)


def test_a_branch_is_owned_by_the_innermost_block_that_it_lies_in_and_numbered_behind_it() -> None:
    groups = [
        GateGroup(name, len(paths), "depth", (), blocks=tuple(Block(path, closed, ()) for path in paths))  # type: ignore[arg-type]
        for name, closed, paths in (
            ("branch", "zero", ["net.0.a", "net.1.a", "other.a"]),
            ("net", "identity", ["net.0", "net.1"]),
            ("deep", "removed", ["net.1.in.0"]),
        )
    ]
    groups.append(GateGroup("deeper", 1, "depth", (), blocks=(Block("net.1.in.0.a", "zero", ()),)))
    plan = Plan(tuple(groups), (), {}, {})
    assert [group.name for group in plan.flat_groups] == ["net", "deep", "branch", "deeper"]
    assert plan.owners is not None and plan.owners.tolist() == [-1, -1, -1, 0, 1, -1, 2]


def test_blocks_go_where_their_group_goes() -> None:
    plan = net([(3, 2), (4, 1)], branches=True)
    for again in (copy.deepcopy(plan), pickle.loads(pickle.dumps(plan))):
        assert [group.blocks for group in again] == [group.blocks for group in plan]
