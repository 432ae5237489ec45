"""A plan of what is left counts what the whole one counts with those gates at 0."""

import torch
from compacting import Net, X
from hypothesis import given, settings
from hypothesis import strategies as st

import lzero
from lzero.cost import Cost
from lzero.plan.narrowed import may_go, narrowed, positions_left

torch.manual_seed(0)
PLANS = {kind: lzero.discover(Net().double(), X[:2], granularity=kind) for kind in ("unit", "input", "weight")}


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(["unit", "input"]), st.integers(0, 2**31))
def test_costs_are_those_of_the_whole_plan(kind, seed):
    plan, drawn = PLANS[kind], torch.Generator().manual_seed(seed)
    keep = torch.rand(plan.size, generator=drawn) < 0.6
    keep[[where.start for where in plan.slices.values()]] = True
    owners = plan.owners
    if owners is not None:
        owned = owners >= 0
        keep[owned] = keep[owners[owned]]
    masks = {name: keep[where] for name, where in plan.slices.items()}
    small = narrowed(plan, masks)
    assert [group.size for group in small.groups] == [int(masks[group.name].sum()) for group in plan.groups]
    p = torch.rand(plan.size, generator=drawn, dtype=torch.float64)
    for measure in ("params", "macs"):
        whole, left = Cost(lzero.Gates(plan), measure), Cost(lzero.Gates(small), measure)
        torch.testing.assert_close(left.value(p[keep]), whole.value(p * keep), rtol=1e-12, atol=0)
    stays = positions_left(plan, masks, {"b1.running_mean": (9,), "b2.running_mean": (7,), **_buffers(plan)})
    for name, dims in stays.items():
        if name in small.shapes:
            assert all(small.shapes[name][dim] == len(where) for dim, where in dims.items())


def _buffers(plan):
    sizes = {"b1": (9,), "b2": (7,)}
    names = {member.tensor for group in plan.groups for member in group.members}
    return {name: plan.shapes.get(name, sizes.get(name[:2], ())) for name in names}


def test_single_weights_cannot_go_and_keep_units_on_their_tensors():
    assert not any(may_go(PLANS["weight"]).values())
    assert all(may_go(PLANS["input"]).values())
    mixed = lzero.discover(Net().double(), X[:2], granularity={"": "unit", "f2": "weight"})
    able = may_go(mixed)
    assert able["c1"] and not able["f2"]
    assert all(able[group.name] for group in mixed if "f2.weight" not in group.tensors)
