"""Which gate stands on which position: element by element as the groups of the plan say."""

from __future__ import annotations

import pytest
import torch
from plans import CASES, column, inputs_of, units

from lzero.attach import attach_gates
from lzero.plan.group import GateGroup, Member
from lzero.surgery.positions import gate_maps, owners_of


@pytest.mark.parametrize("name", CASES)
def test_maps_hold_every_gate_on_every_position_that_it_owns(name):
    model, plan = CASES[name]()
    gates = attach_gates(CASES[name]()[0], plan)
    maps = gate_maps(model, plan.groups, gates)
    wanted = {}
    for group in plan.groups:
        for member in group.consumers:
            for gate, positions in enumerate(member.index.tolist()):
                for position in positions:
                    owned = wanted.setdefault((member.tensor, member.dim), {}).setdefault(position, set())
                    owned.add(gates.slices[group.name].start + gate)
    assert set(maps) == set(wanted)
    for (tensor, dim), stack in maps.items():
        shape = plan.shapes[tensor]
        length = torch.Size(shape).numel() if dim < 0 else shape[dim]
        assert all(tuple(one.shape) == (length,) and one.dtype == torch.int64 for one in stack)
        for position in range(length):
            found = [int(one[position]) for one in stack if int(one[position]) != len(gates)]
            assert len(found) == len(set(found)) and set(found) == wanted[tensor, dim].get(position, set())


def test_groups_that_share_no_position_share_a_map():
    model, plan = CASES["mlp"]()
    gates = attach_gates(CASES["mlp"]()[0], plan)
    one, two = (
        GateGroup(group.name, 2, "unit", (Member("fc3.weight", 1, index, "consumer"),))
        for group, index in zip(plan.groups[1:], ([[0], [1]], [[2], [1]]), strict=True)
        for index in [torch.tensor(index)]
    )
    (free,) = gate_maps(model, [one], gates).values()
    assert len(free) == 1 and free[0].tolist()[2] == len(gates)
    (both,) = gate_maps(model, [one, two], gates).values()
    assert len(both) == 2  # both own position 1
    apart = GateGroup(two.name, 1, "unit", (Member("fc3.weight", 1, torch.tensor([[2]]), "consumer"),))
    (single,) = gate_maps(model, [one, apart], gates).values()
    assert len(single) == 1


def owners_by_hand(groups):
    """For each input gate the unit gate that owns its feature, looked for one by one."""
    flat, found = [], []
    for group in groups:
        flat += [(group, gate) for gate in range(group.size)]
    for group, gate in flat:
        owner = -1
        if group.kind == "input":
            (reader,) = group.consumers
            for number, (other, unit) in enumerate(flat):
                for member in other.consumers if other.kind == "unit" else ():
                    at = member.tensor == reader.tensor and member.dim == 1
                    if at and int(reader.index[gate, 0]) in member.index[unit].tolist():
                        owner = number
        found.append(owner)
    return found


GROUPS = {
    "channels and the features that they are flattened to": [
        units("conv", 2, ["conv.weight"], [], {"fc.weight": torch.arange(6).view(2, 3)}), inputs_of("fc", 6)
    ],
    "some features": [
        units("conv", 2, [], [], {"fc.weight": torch.tensor([[1, 4], [2, 5]])}), inputs_of("fc", 7),
        units("fc", 3, [], [], {"last.weight": column(3)}), inputs_of("last", 3),
    ],
    "features of another layer": [units("a", 2, [], [], {"b.weight": column(2)}), inputs_of("c", 4)],
}  # fmt: skip


@pytest.mark.parametrize("case", GROUPS)
def test_owners_are_those_of_a_search(case):
    assert owners_of(GROUPS[case]).tolist() == owners_by_hand(GROUPS[case])


@pytest.mark.parametrize("name", CASES)
def test_owners_of_every_plan(name):
    _, plan = CASES[name]()
    owners = owners_of(plan.groups)
    if any(group.kind == "input" for group in plan.groups):
        assert owners.tolist() == owners_by_hand(plan.groups)
    else:
        assert owners is None
