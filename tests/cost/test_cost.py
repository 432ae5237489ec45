"""Costs against enumeration, Monte Carlo, differences and the modules that are really shrunk."""

import copy
import itertools
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from many_axes import many_axes
from plans import CASES, Truth, all_masks, chances, column, inputs_of, lenet, plan_of, reused, units, weights
from torch import nn

from lzero.attach import attach_gates
from lzero.cost import Cost
from lzero.cost.table import entries_of
from lzero.gates.gates import Gates
from lzero.plan.block import Block
from lzero.plan.group import GateGroup, Member
from lzero.plan.plan import Plan
from lzero.surgery.shrink import shrink

UNITS = [name for name in CASES if name != "weights"]


def gated(case):
    torch.manual_seed(0)
    model, plan = case()
    plain = copy.deepcopy(model)
    return plain, plan, attach_gates(model, plan)


def random_probability(gates, seed=0):
    return torch.rand(len(gates), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("measure", ["params", "macs"])
@pytest.mark.parametrize("name", CASES)
def test_every_deployed_count_is_the_number_of_live_weights(name, measure):
    _, plan, gates = gated(CASES[name])
    masks = all_masks(len(gates))
    truth = Truth.of(plan, gates).count(masks, measure)
    cost = Cost(gates, measure)
    some = np.random.default_rng(0).choice(len(masks), min(len(masks), 300), replace=False)
    found = [float(cost.value(torch.from_numpy(masks[row]))) for row in some]
    assert found == truth[some].tolist()
    assert float(cost.total) == truth[-1]


@pytest.mark.parametrize("measure", ["params", "macs"])
@pytest.mark.parametrize("name", CASES)
def test_the_expected_cost_is_the_sum_over_all_settings(name, measure):
    _, plan, gates = gated(CASES[name])
    masks = all_masks(len(gates))
    p = random_probability(gates)
    expected = float(chances(p, masks) @ Truth.of(plan, gates).count(masks, measure))
    assert float(Cost(gates, measure).value(p)) == pytest.approx(expected, rel=1e-12)


def test_the_expected_cost_is_the_mean_over_draws():
    torch.manual_seed(0)
    model, plan = lenet(c1=6, c2=8, h=10)
    gates = attach_gates(model, plan)
    p = random_probability(gates)
    cost, draws = Cost(gates, "macs"), 3000
    counts = torch.cat([cost.value(torch.bernoulli(p).bool()) for _ in range(draws)])
    assert abs(float(counts.mean() - cost.value(p))) < 4 * float(counts.std()) / draws**0.5


@pytest.mark.parametrize("measure", ["params", "macs", "gates"])
@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_the_difference_of_the_two_settings_of_each_gate(name, measure):
    _, _plan, gates = gated(CASES[name])
    cost = Cost(gates, measure)
    p = random_probability(gates, 1)
    gradient = cost.gradient(p, 0)
    step = 1e-4
    for gate in range(len(gates)):
        up, down, near, far = (p.clone() for _ in range(4))
        up[gate], down[gate], near[gate], far[gate] = 1, 0, p[gate] + step, p[gate] - step
        toggled = float(cost.value(up) - cost.value(down))  # multilinear: exact
        quotient = float(cost.value(near) - cost.value(far)) / (2 * step)
        assert float(gradient[gate]) == pytest.approx(toggled, rel=1e-10, abs=1e-10)
        assert float(gradient[gate]) == pytest.approx(quotient, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("seed", range(3))
def test_the_deployed_count_is_that_of_the_shrunk_module(name, seed):
    plain, plan, gates = gated(CASES[name])
    open_ = gates.alive(gates.with_floor(random_probability(gates, seed) > 0.5))
    shrink(plain, plan.groups, gates.split(open_))
    assert sum(p.numel() for p in plain.parameters()) == int(Cost(gates, "params").value(open_))
    plain(plan.example_inputs)


def test_macs_of_the_lenet_are_those_counted_by_hand():
    _, _, gates = gated(lenet)
    # conv1: 16 places x 1 x 2 x 9; conv2: 4 x 2 x 2 x 9; fc1: 8 x 2; fc2: 2 x 3
    assert float(Cost(gates, "macs").total) == 16 * 18 + 4 * 36 + 16 + 6
    open_ = torch.ones(len(gates))
    open_[gates.slices["conv1"].start] = 0
    open_[gates.slices["conv2"].start] = 0
    open_[gates.slices["fc1.input"].stop - 1] = 0
    # half of conv1, a quarter of conv2, three of eight features
    assert float(Cost(gates, "macs").value(open_)) == 16 * 9 + 4 * 9 + 3 * 2 + 6


def test_a_feature_lives_where_its_channel_and_its_own_gate_are_open():
    _, _, gates = gated(lenet)
    p = torch.ones(len(gates), dtype=torch.float64)
    channel, feature = gates.slices["conv2"].start, gates.slices["fc1.input"].start
    p[channel], p[feature] = 0.5, 0.25
    # fc1 has 2 rows: 4 columns of the other channel, 3 with 1/2 and one with 1/8
    assert float(Cost(gates, "params", [("fc1",)]).value(p)) == pytest.approx(2 * (4 + 1.5 + 0.125) + 2)


def test_a_gate_on_rows_and_columns_counts_once_where_they_cross():
    _, _, gates = gated(reused)
    p = torch.tensor([0.3, 0.9, 0.5, 0.1], dtype=torch.float64)
    s = float(p.sum())
    square = s * s + float((p * (1 - p)).sum())
    assert float(Cost(gates, "params", [("square",)]).value(p)) == pytest.approx(square + s)


def test_parts_count_what_lies_below_their_paths_and_add_up():
    _, plan, gates = gated(lenet)
    truth, masks = Truth.of(plan, gates), all_masks(len(gates))[::97]
    paths = ["conv1", "conv2", "fc1", "fc2"]
    cost = Cost(gates, "params", [(path,) for path in paths] + [("conv1", "fc2"), ("",)])
    for mask in masks:
        found = cost.value(torch.from_numpy(mask))
        by_path = [truth.count(mask[None], part=path)[0] for path in paths]
        assert found.tolist() == [*by_path, by_path[0] + by_path[3], sum(by_path)]


def test_the_gates_measure_counts_gates_that_are_alive_where_they_multiply():
    """A feature's gate is alive where its own and its channel's are open."""
    _, _, gates = gated(lenet)
    cost = Cost(gates, "gates", [("",), ("conv2",), ("fc1",)])
    assert cost.total.tolist() == [14, 2, 10]
    p = random_probability(gates)
    owned = gates.owners >= 0
    alive = torch.where(owned, p * p[gates.owners.clamp_min(0)], p)
    z = gates.split(alive)
    expected = [alive.sum(), z["conv1"].sum(), z["conv2"].sum() + z["fc1.input"].sum()]
    assert torch.allclose(cost.value(p), torch.stack(expected))
    for mask in all_masks(len(gates))[::211]:
        open_ = torch.from_numpy(mask)
        assert float(cost.value(open_)[0]) == int(gates.alive(open_).sum())


def test_weight_gates_count_single_weights():
    _, plan, gates = gated(weights)
    p = random_probability(gates)
    shared = sum(int(np.prod(plan.shapes[name])) for name in plan.shapes) - len(gates)
    assert float(Cost(gates, "params").value(p)) == pytest.approx(float(p.sum()) + shared)


@st.composite
def random_plans(draw):
    """A chain of Linears, some reused, with gates on a random choice of its units, inputs and groups of units."""
    sizes = draw(st.lists(st.integers(2, 4), min_size=3, max_size=4))
    layers_ = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    model = nn.Sequential(*layers_)
    groups = []
    for number, size in enumerate(sizes[1:-1]):
        if draw(st.booleans()):
            group = units(
                str(number), size, [f"{number}.weight"], [f"{number}.bias"], {f"{number + 1}.weight": column(size)}
            )
            groups.append(group)
    if draw(st.booleans()) or not groups:
        groups.append(inputs_of("0", sizes[0]))
    positions = {f"{number}.weight": draw(st.integers(1, 5)) for number in range(len(layers_))}
    return model, plan_of(model, groups, positions, torch.zeros(1, sizes[0]))


@settings(max_examples=30, deadline=None)
@given(random_plans(), st.integers(0, 1000), st.sampled_from(["params", "macs"]))
def test_random_plans_agree_with_enumeration(case, seed, measure):
    model, plan = case
    gates = attach_gates(model, plan)
    truth, masks, p = Truth.of(plan, gates), all_masks(len(gates)), random_probability(gates, seed)
    cost = Cost(gates, measure)
    counts = truth.count(masks, measure)
    assert float(cost.value(p)) == pytest.approx(float(chances(p, masks) @ counts), rel=1e-12)
    mask = masks[seed % len(masks)]
    assert float(cost.value(torch.from_numpy(mask))) == counts[seed % len(masks)]


def test_a_unit_gate_and_an_input_gate_on_a_reused_square_layer():
    """The same units on rows and columns, with input gates on the columns as well."""
    torch.manual_seed(0)
    model, plan = reused(3)
    groups = [*plan.groups, inputs_of("square", 3)]
    plan = plan_of(model, groups, plan.positions, plan.example_inputs)
    gates = attach_gates(model, plan)
    masks, p = all_masks(len(gates)), random_probability(gates, 3)
    expected = float(chances(p, masks) @ Truth.of(plan, gates).count(masks))
    cost = Cost(gates, "params")
    assert float(cost.value(p)) == pytest.approx(expected, rel=1e-12)
    gradient = cost.gradient(p, 0)
    for gate in range(len(gates)):
        up, down = p.clone(), p.clone()
        up[gate], down[gate] = 1, 0
        assert float(gradient[gate]) == pytest.approx(float(cost.value(up) - cost.value(down)), rel=1e-10)


@settings(max_examples=150, deadline=None)
@given(many_axes(), st.integers(0, 1000), st.sampled_from(["params", "macs"]))
def test_products_of_many_axes_agree_with_enumeration(plan, seed, measure):
    """Up to four gated dims, gates on two of them, features of channels, blocks, and branches of blocks."""
    gates = Gates(plan)
    truth, masks, p = Truth.of(plan, gates), all_masks(len(gates)), random_probability(gates, seed)
    cost, counts = Cost(gates, measure), truth.count(masks, measure)
    assert float(cost.value(p)) == pytest.approx(float(chances(p, masks) @ counts), rel=1e-12)
    for row in {0, len(masks) - 1, seed % len(masks), 7 * seed % len(masks)}:
        assert float(cost.value(torch.from_numpy(masks[row]))) == counts[row]
    gradient, step = cost.gradient(p, 0), 1e-4
    for gate in range(len(gates)):
        up, down, near, far = (p.clone() for _ in range(4))
        up[gate], down[gate], near[gate], far[gate] = 1, 0, p[gate] + step, p[gate] - step
        toggled = chances(up, masks) @ counts - chances(down, masks) @ counts  # multilinear: exact
        quotient = float(cost.value(near) - cost.value(far)) / (2 * step)
        assert float(gradient[gate]) == pytest.approx(float(toggled), rel=1e-9, abs=1e-9)
        assert float(gradient[gate]) == pytest.approx(quotient, rel=1e-6, abs=1e-6)


def test_an_expert_a_unit_and_a_stream_multiply_and_a_block_switches_all_of_them():
    members = [Member("net.0.up", dim, column(size), "coupled") for dim, size in enumerate((2, 3, 4))]
    groups = [GateGroup(f"dim{dim}", len(m.index), "unit", (m,)) for dim, m in enumerate(members)]
    groups.append(GateGroup("net", 1, "depth", (), blocks=(Block("net.0", "identity", ("net.0.up", "net.0.scale")),)))
    gates = Gates(Plan(tuple(groups), (), {"net.0.up": (2, 3, 4), "net.0.scale": (), "out": (5,)}, {}))
    p = random_probability(gates)
    e, i, h, block = (p[gates.slices[name]].sum() for name in ("dim0", "dim1", "dim2", "net"))
    cost = Cost(gates, "params", [("",), ("net",)])
    torch.testing.assert_close(cost.value(p), torch.stack([block * (e * i * h + 1) + 5, block * (e * i * h + 1)]))
    assert cost.total.tolist() == [30.0, 25.0]
    assert Cost(gates, "gates", [("",), ("net.0",)]).total.tolist() == [1.0, 1.0]  # the others multiply nothing here


def test_a_branch_lives_where_its_block_does():
    blocks = [Block(f"net.{n}", "identity", (f"net.{n}.attn.w", f"net.{n}.norm")) for n in (0, 1)]
    branches = [Block(f"net.{n}.attn", "zero", (f"net.{n}.attn.w",)) for n in (0, 1)]
    groups = [GateGroup(name, 2, "depth", (), blocks=tuple(b)) for name, b in (("attn", branches), ("net", blocks))]
    shapes = {f"net.{n}.{leaf}": size for n in (0, 1) for leaf, size in (("attn.w", (3, 4)), ("norm", (4,)))}
    gates = Gates(Plan(tuple(groups), (), shapes, {}))
    assert gates.owners.tolist() == [-1, -1, 0, 1]
    p = torch.tensor([0.5, 0.25, 0.1, 0.9], dtype=torch.float64)
    expected = 12 * (0.5 * 0.1 + 0.25 * 0.9) + 4 * 0.75
    assert float(Cost(gates, "params").value(p)) == pytest.approx(expected, rel=1e-12)
    assert float(Cost(gates, "gates").value(p)) == pytest.approx(0.75 + 0.5 * 0.1 + 0.25 * 0.9, rel=1e-12)


def test_tensors_are_counted_once_a_measure_however_many_parts_there_are(monkeypatch):
    model = nn.Sequential(*(nn.Linear(6, 6) for _ in range(9)))
    gates = attach_gates(model, torch.randn(2, 6))
    counted = []

    def counting(plan, runs, *, macs=False):
        counted.append(macs)
        return entries_of(plan, runs, macs=macs)

    monkeypatch.setattr(sys.modules[Cost.__module__], "entries_of", counting)
    layers = [(f"{number}.weight",) for number in range(9)]
    Cost(gates, ["params"] * 9 + ["macs"] * 9, layers * 2)
    assert counted == [False, True]
