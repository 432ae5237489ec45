"""Runs and axes of a plan against its gates and positions, one by one."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from many_axes import many_axes
from plans import CASES, Truth, column

from lzero.cost.table import entries_of, runs_of
from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.plan.block import Block
from lzero.plan.group import GateGroup, Member
from lzero.plan.plan import Plan


@st.composite
def plans(draw):
    """Two unit groups whose channels one layer reads in any order, also on its rows, with or without input gates."""
    a, b = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    per_a, per_b, free = draw(st.integers(1, 3)), draw(st.integers(0, 2)), draw(st.integers(0, 2))
    width = a * per_a + b * per_b + free
    order = draw(st.permutations(range(width)) if draw(st.booleans()) else st.just(range(width)))
    columns = torch.tensor(list(order))
    on_rows = draw(st.sampled_from(["a", "b", "both", ""]))
    rows = 1 + (a if on_rows in ("a", "both") else 0) + (2 * b if on_rows in ("b", "both") else 0)
    members = {
        "a": [Member("a.weight", 0, column(a), "producer"), Member("a.bias", 0, column(a), "coupled")],
        "b": [Member("b.weight", 0, column(2 * b).view(b, 2), "producer"), Member("b.mean", 0, column(b), "coupled")],
    }
    mine = columns[: a * per_a].view(a, per_a)
    pieces = mine.tensor_split(draw(st.integers(1, per_a)), 1)  # of several members on one dim
    members["a"] += [Member("c.weight", 1, piece, "consumer") for piece in pieces]
    if per_b:
        index = columns[a * per_a : a * per_a + b * per_b].view(b, per_b)
        members["b"].append(Member("c.weight", 1, index, "consumer"))
    if on_rows in ("a", "both"):
        members["a"].append(Member("c.weight", 0, column(a) + 1, "producer"))
    if on_rows in ("b", "both"):
        members["b"].append(Member("c.weight", 0, column(2 * b).view(b, 2) + rows - 2 * b, "producer"))
    groups = [GateGroup(name, size, "unit", tuple(members[name])) for name, size in (("a", a), ("b", b))]
    if draw(st.booleans()):
        member = Member("c.weight", 1, column(width), "consumer")
        groups.insert(draw(st.integers(0, 2)), GateGroup("c.input", width, "input", (member,)))
    if draw(st.booleans()):
        groups.append(GateGroup("w", 4, "weight", (Member("w.weight", -1, column(4), "consumer"),)))
    kernel = draw(st.sampled_from([(), (2,), (3, 2)]))
    shapes = {"a.weight": (a, 2), "a.bias": (a,), "b.weight": (2 * b + 1, 3), "c.weight": (rows, width, *kernel)}
    return Plan(tuple(groups), (), {**shapes, "w.weight": (2, 2), "free.bias": (5,)}, {})


PLANS = st.one_of(plans(), many_axes(), st.sampled_from(sorted(CASES)).map(lambda name: CASES[name]()[1]))


def owner_group(gates, gate):
    """The name of the group of the gate that owns ``gate``; None where none does."""
    owner = int(gates.owners[gate])
    return next((name for name, where in gates.slices.items() if where.start <= owner < where.stop), None)


@settings(max_examples=60, deadline=None)
@given(PLANS)
def test_runs_are_the_longest_stretches_of_one_group_and_one_group_of_owners(plan):
    gates = Gates(plan)
    runs = runs_of(gates)
    assert [gate for run in runs for gate in range(run.start, run.stop)] == list(range(len(gates)))
    for number, run in enumerate(runs):
        assert gates.slices[run.group].start <= run.start < run.stop <= gates.slices[run.group].stop
        for gate in range(run.start, run.stop):
            owner = owner_group(gates, gate)
            assert run.owner == number if owner is None else runs[run.owner].group == owner
            if owner is not None:
                assert runs[run.owner].start <= int(gates.owners[gate]) < runs[run.owner].stop
    depth = {group.name for group in plan.groups if group.kind == "depth"}
    assert all(run.stop == run.start + 1 for run in runs if run.group in depth)
    for one, two in itertools.pairwise(runs):
        alike = one.group == two.group and owner_group(gates, one.start) == owner_group(gates, two.start)
        assert not alike or one.group in depth


def alive_sums(gates, runs, p):
    """A_run of every run, each gate with its owner."""
    owned = [1.0 if owner < 0 else float(p[owner]) for owner in gates.owners.tolist()]
    return [sum(float(p[gate]) * owned[gate] for gate in range(run.start, run.stop)) for run in runs]


def at(axis, sums):
    return axis[0] + sum(amount * sums[run] for run, amount in axis[1])


def written_axis(plan, gates, p, name, dim):
    """The sum over the positions of one dim of the product of the gates that stand there."""
    shape = plan.shapes[name]
    factors = [1.0] * (shape[dim] if dim >= 0 else int(torch.tensor(shape).prod()))
    for group in plan.groups:
        for member in (m for m in group.members if (m.tensor, m.dim) == (name, dim)):
            for gate, positions in enumerate(member.index.tolist()):
                for position in positions:
                    factors[position] *= float(p[gates.slices[group.name].start + gate])
    return sum(factors)


@settings(max_examples=60, deadline=None)
@given(PLANS, st.integers(0, 1000))
def test_an_axis_is_the_sum_over_its_positions(plan, seed):
    gates = Gates(plan)
    p = torch.rand(len(gates), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    runs = runs_of(gates)
    sums, entries = alive_sums(gates, runs, p), entries_of(plan, runs)
    assert [entry.name for entry in entries] == list(plan.shapes)
    for entry in entries:
        dims = sorted({m.dim for g in plan.groups for m in g.members if m.tensor == entry.name})
        shape = plan.shapes[entry.name]
        rest = 1
        for dim, length in enumerate(shape):
            rest *= 1 if dim in dims or -1 in dims else length
        assert entry.rest == rest
        for side, dim in itertools.zip_longest(entry.axes, dims):
            if dim is None:
                assert side[0] == 0.0 and len(side[1]) == 1  # a block
            else:
                assert at(side, sums) == pytest.approx(written_axis(plan, gates, p, entry.name, dim), rel=1e-12)


@settings(max_examples=100, deadline=None)
@given(PLANS, st.integers(0, 1000))
def test_products_add_up_to_the_sum_over_the_elements(plan, seed):
    gates = Gates(plan)
    p = torch.rand(len(gates), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    runs = runs_of(gates)
    theirs = torch.where(gates.owners < 0, p, p[gates.owners])
    alive = torch.where(gates.owners < 0, p, p * theirs)
    sums = [float(of[run.start : run.stop].sum()) for of in (alive, alive * (1 - theirs)) for run in runs]
    needs = Truth.of(plan, gates).needs
    for entry in entries_of(plan, runs):
        found = sum(math.prod(at(axis, sums) for axis in product) for product in entry.products(runs))
        expected = torch.where(torch.from_numpy(needs[entry.name]), p, 1.0).prod(1).sum()
        assert entry.rest * found == pytest.approx(float(expected), rel=1e-12)


def test_features_of_two_groups_of_channels_are_two_runs_and_ungated_ones_a_third():
    members = [Member("c.weight", 1, index, "consumer") for index in (column(4).view(2, 2), column(4, 6), column(8))]
    kinds = (("a", 2, "unit"), ("b", 2, "unit"), ("c.input", 8, "input"))
    groups = [GateGroup(*kind, (member,)) for kind, member in zip(kinds, members, strict=True)]
    plan = Plan(tuple(groups), (), {"c.weight": (3, 8)}, {})
    runs = runs_of(Gates(plan))
    assert [(run.group, run.start, run.stop, run.owner) for run in runs] == [
        ("a", 0, 2, 0),
        ("b", 2, 4, 1),
        ("c.input", 4, 8, 0),
        ("c.input", 8, 10, 1),
        ("c.input", 10, 12, 4),
    ]
    (entry,) = entries_of(plan, runs)
    # the units' own positions are counted by the features that they own
    assert entry.axes == ((0.0, ((2, 1.0), (3, 1.0), (4, 1.0))),) and entry.rest == 3.0


def entry_of(shape, groups):
    """The only tensor of a plan, with the runs that it is counted by."""
    runs = runs_of(Gates(Plan(tuple(groups), (), {"weight": shape}, {})))
    return entries_of(Plan(tuple(groups), (), {"weight": shape}, {}), runs)[0], runs


def test_gates_of_two_dims_meet_on_each_of_two_pairs_of_dims():
    """Rows and columns of one group, two further dims of another: each product has one axis for what meets."""
    groups = [
        GateGroup(name, 3, "unit", tuple(Member("weight", dim, column(3), "coupled") for dim in dims))
        for name, dims in (("a", (0, 2)), ("b", (1, 3)))
    ]
    entry, runs = entry_of((3, 4, 3, 3), groups)
    a, b, met_a, met_b = ((0.0, ((number, 1.0),)) for number in range(4))
    assert entry.axes == (a, (1.0, b[1]), a, b)
    assert entry.products(runs) == [entry.axes, ((1.0, b[1]), b, met_a), (a, a, met_b), (met_a, met_b)]


def test_a_gate_on_three_dims_is_refused():
    members = [Member("weight", dim, column(3), "consumer" if dim else "producer") for dim in (0, 1, 2)]
    entry, runs = entry_of((3, 3, 3), [GateGroup("a", 3, "unit", tuple(members))])
    with pytest.raises(StructureError, match="weight: the gates of a on three of its dims; pass it to ignore="):
        entry.products(runs)


def test_two_branches_of_a_block_that_one_tensor_leaves_with_are_refused():
    names = {"net": ["net.0"], "one": ["net.0.a"], "two": ["net.0.b"]}
    groups = [
        GateGroup(name, 1, "depth", (), blocks=(Block(paths[0], "zero" if name != "net" else "identity", ("weight",)),))
        for name, paths in names.items()
    ]
    entry, runs = entry_of((3, 3), groups)
    with pytest.raises(StructureError, match=r"weight: owned gates of (one|two) on two of its dims"):
        entry.products(runs)
