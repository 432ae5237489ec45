"""Which gate stands where, against the positions enumerated one by one."""

import itertools
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import CASES, lenet

from lzero.plan.group import GateGroup, Member
from lzero.plan.ownership import alive_positions, parameters_left
from lzero.plan.plan import Plan


@st.composite
def plans(draw):
    """Random plans: unit groups on dims 0 and 1 of a few matrices, input groups, buffers, and single weights."""
    shapes = {f"layer{n}.weight": (draw(st.integers(2, 12)), draw(st.integers(2, 12))) for n in range(3)}
    lengths = {(name, dim): size for name, shape in shapes.items() for dim, size in enumerate(shape)}
    groups = []
    for number in range(draw(st.integers(1, 3))):
        size, members = draw(st.integers(1, 4)), []
        for (name, dim), length in lengths.items():
            width = draw(st.integers(0, length // size))
            if width:
                order = draw(st.permutations(range(length)))[: size * width]
                role = "consumer" if dim == 1 else "producer"
                members.append(Member(name, dim, torch.tensor(order).view(size, width), role))
        members.append(Member(f"norm{number}.running_mean", 0, torch.arange(size)[:, None], "coupled"))
        groups.append(GateGroup(f"g{number}", size, "unit", tuple(members)))
    for name in shapes:
        if draw(st.booleans()):
            member = Member(name, 1, torch.arange(shapes[name][1])[:, None], "consumer")
            groups.insert(0, GateGroup(f"{name}.input", shapes[name][1], "input", (member,)))
    shapes["single.weight"] = (2, 3)
    single = Member("single.weight", -1, torch.arange(6)[:, None], "consumer")
    groups.append(GateGroup("single", 6, "weight", (single,)))
    return Plan(tuple(groups), (), {**shapes, "free.bias": (5,)}, {})


def numbered(plan):
    """Every gate as (group, position in it), in flat order."""
    ordered = [g for g in plan.groups if g.kind != "input"] + [g for g in plan.groups if g.kind == "input"]
    return [(group, gate) for group in ordered for gate in range(group.size)]


def standing(plan, tensor, dim, position, role=None):
    """Numbers of all gates that own one position of a dim."""
    return [
        number
        for number, (group, gate) in enumerate(numbered(plan))
        for member in group.members
        if (member.tensor, member.dim) == (tensor, dim) and role in (None, member.role)
        if position in member.index[gate].tolist()
    ]


def keeps(plan, data):
    mask = {g.name: data.draw(st.lists(st.booleans(), min_size=g.size, max_size=g.size)) for g in plan.groups}
    return {name: torch.tensor(values) for name, values in mask.items()}


@settings(max_examples=60, deadline=None)
@given(plans())
def test_order_and_slices_number_the_gates_inputs_last(plan):
    found = [(group, gate) for group in plan.flat_groups for gate in range(group.size)]
    assert found == numbered(plan)
    for group in plan.groups:
        where = plan.slices[group.name]
        assert found[where] == [(group, gate) for gate in range(group.size)]


@settings(max_examples=60, deadline=None)
@given(plans())
def test_maps_have_every_gate_at_each_of_its_positions_and_no_other(plan):
    maps = plan.maps()
    assert maps.keys() == {(m.tensor, m.dim) for g in plan.groups for m in g.consumers}
    for (name, dim), stack in maps.items():
        length = math.prod(plan.shapes[name]) if dim < 0 else plan.shapes[name][dim]
        assert all(index.shape == (length,) for index in stack)
        for position in range(length):
            found = [int(index[position]) for index in stack]
            assert sorted(n for n in found if n < plan.size) == standing(plan, name, dim, position, "consumer")


@settings(max_examples=60, deadline=None)
@given(plans())
def test_an_input_gate_is_owned_by_the_last_unit_gate_on_its_feature(plan):
    expected = []
    for group, gate in numbered(plan):
        position = group.members[0].index[gate, 0].item()
        on = standing(plan, group.members[0].tensor, 1, position, "consumer") if group.kind == "input" else []
        units = [n for n in on if numbered(plan)[n][0].kind == "unit"]
        expected.append(units[-1] if units else -1)
    found = plan.owners
    assert (found is None) == all(owner < 0 for owner in expected)
    assert found is None or found.tolist() == expected


@settings(max_examples=60, deadline=None)
@given(plans(), st.data())
def test_what_is_alive_is_what_no_closed_gate_owns(plan, data):
    keep = keeps(plan, data)
    closed = {n for n, (group, gate) in enumerate(numbered(plan)) if not keep[group.name][gate]}
    found = alive_positions(plan.groups, keep, plan.shapes)
    assert not any("running_mean" in name for name in found)
    for name, dims in found.items():
        for dim, mask in dims.items():
            for position, alive in enumerate(mask.tolist()):
                assert alive == (not closed & set(standing(plan, name, dim, position)))
    buffers = {"norm0.running_mean": (9,)}
    assert set(alive_positions(plan.groups, keep, buffers)) == {"norm0.running_mean"}


@settings(max_examples=60, deadline=None)
@given(plans(), st.data())
def test_parameters_left_are_the_elements_that_no_closed_gate_owns(plan, data):
    keep = keeps(plan, data)
    closed = {n for n, (group, gate) in enumerate(numbered(plan)) if not keep[group.name][gate]}
    total = 0
    for name, shape in plan.shapes.items():
        dead = [{p for p in range(size) if closed & set(standing(plan, name, d, p))} for d, size in enumerate(shape)]
        total += sum(
            all(p not in gone for p, gone in zip(element, dead, strict=True))
            for element in itertools.product(*map(range, shape))
        )
    assert parameters_left(plan.groups, keep, plan.shapes) == total


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_member_spreads_values_over_its_positions_and_brings_them_back(data):
    size, width = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))
    length = size * width + data.draw(st.integers(0, 6))
    order = data.draw(st.permutations(range(length)))[: size * width]
    member = Member("w", 0, torch.tensor(order).view(size, width), "consumer")
    values = torch.rand(size, dtype=torch.float64)
    spread = member.expand(values, length, fill=-1.0)
    assert spread.dtype == values.dtype
    for position, value in enumerate(spread.tolist()):
        owners = [gate for gate in range(size) if position in member.index[gate].tolist()]
        assert value == (float(values[owners[0]]) if owners else -1.0)
    assert torch.equal(member.gather(spread), values[:, None].expand(-1, width))
    assert member.owned(length).tolist() == [position in order for position in range(length)]
    assert member.expand(values > 0.5, length, fill=True).dtype == torch.bool


@pytest.mark.parametrize("name", CASES)
def test_what_a_plan_has_computed_is_no_part_of_what_is_pickled(name):
    _, plan = CASES[name]()
    before = len(pickle.dumps(plan))
    owners, order = plan.owners, plan.flat_groups
    assert plan.owners is owners and plan.flat_groups is order
    assert len(pickle.dumps(plan)) == before
    twin = pickle.loads(pickle.dumps(plan))
    assert (twin.owners is None) == (owners is None) and (owners is None or torch.equal(twin.owners, owners))


def test_the_features_of_a_flattened_channel_are_owned_by_it():
    _, plan = lenet()
    features = plan.slices["fc1.input"]
    assert plan.owners[features].tolist() == [plan.slices["conv2"].start + feature // 4 for feature in range(8)]
    (unit, own) = plan.maps()["fc1.weight", 1]
    assert unit.tolist() == plan.owners[features].tolist() and own.tolist() == list(range(plan.size))[features]
