"""Milliseconds of gates: against the definition, the table itself, and the purged model's own shapes."""

import dataclasses
import itertools

import pytest
import torch
from hand_tables import layer_of, plain, stairs, table_of
from plans import CASES, lenet, mlp
from torch import nn

import lzero
from lzero.cost import Cost
from lzero.errors import BudgetError
from lzero.gates.gates import Gates
from lzero.latency import Layer, Table
from lzero.plan.ownership import alive_positions

DOUBLE = torch.float64
BUILT = {}


def gates_of(name):
    if name not in BUILT:
        torch.manual_seed(0)
        BUILT[name] = lzero.attach_gates(*CASES[name]())
    return BUILT[name]


def random_p(gates, seed):
    return torch.rand(len(gates), generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def width(gates, side, p):
    """Of the summed dims, the expected number of positions whose gates are all open."""
    total = p.new_zeros(())
    for name, dim, length in side:
        alive = p.new_ones(length)
        for group in gates.plan.groups:
            for member in group.members:
                if member.tensor == name and member.dim == dim:
                    alive = alive * member.expand(p[gates.slices[group.name]], length, 1.0)
        total = total + alive.sum()
    return total


def between(layer, rows, columns):
    """The smooth surface, written out, differentiable."""
    down, across = layer.knots()

    def cell(widths, which, at):
        pairs = list(itertools.pairwise(which))
        for low, high in pairs:
            if float(at.detach()) <= widths[high] or high == which[-1]:
                share = (at - widths[low]) / (widths[high] - widths[low])
                return low, high, share.clamp(0, 1)
        return which[0], which[0], torch.zeros((), dtype=DOUBLE)

    i, k, right = cell(layer.row_widths, down, rows)
    j, m, beside = cell(layer.column_widths, across, columns)
    above = layer.ms[i][j] * (1 - beside) + layer.ms[i][m] * beside
    below = layer.ms[k][j] * (1 - beside) + layer.ms[k][m] * beside
    return above * (1 - right) + below * right


def written(gates, table, p, inside=""):
    """Expected milliseconds by the definition."""
    total = p.new_tensor(0.0 if inside else table.before)
    for layer in table.layers:
        if layer.path.startswith(inside):
            total = total + between(layer, width(gates, layer.rows, p), width(gates, layer.columns, p))
    return total


PARTS = [("",), ("fc1",), ("fc2",)]


@pytest.mark.parametrize("ms", [plain, stairs])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", CASES)
def test_expected_milliseconds_and_their_gradient_are_those_of_the_definition(name, seed, ms):
    gates = gates_of(name)
    table, p = table_of(gates.plan, ms), random_p(gates, seed)
    cost, leaf = Cost(gates, "latency", tables=table), p.clone().requires_grad_()
    expected = written(gates, table, leaf)
    (slope,) = torch.autograd.grad(expected + 0 * leaf.sum(), leaf)  # gates of single weights narrow nothing
    point = cost.at(p)
    torch.testing.assert_close(point.value, expected.detach()[None], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(point.row(), slope, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(cost.gradient(p, 0), slope, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(point.norms(torch.ones_like(p))[0], slope.norm(), rtol=1e-9, atol=1e-12)
    assert float(cost.total) == pytest.approx(table.total, rel=1e-12)
    assert float(cost.value(torch.ones(len(gates), dtype=torch.bool))) == float(cost.total)


@pytest.mark.parametrize("name", CASES)
def test_milliseconds_stand_beside_what_is_counted(name):
    gates = gates_of(name)
    table, p = table_of(gates.plan, plain), random_p(gates, 3)
    first, last = table.layers[0].path, table.layers[-1].path
    measures = ["params", "latency", "latency", "macs", "latency"]
    parts = [("",), ("",), (first,), ("",), (last,)]
    both = Cost(gates, measures, parts, [table if m == "latency" else None for m in measures])
    alone = [Cost(gates, m, [part], table if m == "latency" else None) for m, part in zip(measures, parts, strict=True)]
    torch.testing.assert_close(both.total, torch.cat([cost.total for cost in alone]))
    coefficients = torch.tensor([0.3, -1.0, 2.0, 0.01, 0.7], dtype=DOUBLE)
    point, points = both.at(p), [cost.at(p) for cost in alone]
    torch.testing.assert_close(point.value, torch.cat([one.value for one in points]))
    pulls = sum(c * one.pull(torch.ones(1, dtype=DOUBLE)) for c, one in zip(coefficients, points, strict=True))
    torch.testing.assert_close(point.pull(coefficients), pulls, rtol=1e-9, atol=1e-9)
    weight = torch.randn(len(gates), dtype=DOUBLE)
    torch.testing.assert_close(
        point.norms(weight), torch.cat([one.norms(weight) for one in points]), rtol=1e-6, atol=1e-8
    )
    restricted = torch.cat([one.restricted_norms(weight) for one in points])
    torch.testing.assert_close(point.restricted_norms(weight), restricted)
    open_ = gates.floor()
    torch.testing.assert_close(both.value(open_), torch.cat([cost.value(open_) for cost in alone]))
    deployed = both.beside(gates.probability().detach().double(), gates).deployed
    assert torch.equal(deployed, both.value(gates.open_mask()))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", CASES)
def test_of_a_deployed_set_they_are_the_tables_at_its_widths(name, seed):
    gates = gates_of(name)
    table = table_of(gates.plan, stairs)
    open_ = gates.masks.alive(gates.masks.with_floor(random_p(gates, seed) > 0.6, random_p(gates, seed)))
    groups = [group for group in gates.plan.groups if group.kind != "weight"]
    alive = alive_positions(groups, gates.split(open_), gates.plan.shapes)

    def length(side):
        ((name, dim, whole),) = side
        mask = alive.get(name, {}).get(dim)
        return whole if mask is None else int(mask.sum())

    widths = {layer.path: (length(layer.rows), length(layer.columns)) for layer in table.layers}
    assert float(Cost(gates, "latency", tables=table).value(open_)) == pytest.approx(table.predict(widths), rel=1e-12)


def test_shipped_widths_are_those_of_the_purged_model():
    torch.manual_seed(0)
    model, plan = lenet(3, 4, 5)
    gates = lzero.attach_gates(model, plan)
    with torch.no_grad():
        gates.log_alpha.copy_(torch.randn(len(gates)) * 3)
    table = table_of(plan, stairs)
    small = lzero.purge(model, settle=False).model
    widths = {layer.path: tuple(small.get_submodule(layer.path).weight.shape[:2]) for layer in table.layers}
    found = float(Cost(gates, "latency", tables=table).value(gates.open_mask()))
    assert found == pytest.approx(table.predict(widths), rel=1e-12)


def test_a_closed_block_takes_no_time():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.down = nn.Linear(6, 8), nn.Linear(8, 6)

        def forward(self, x):
            return x + self.down(torch.relu(self.up(x)))

    model = nn.Sequential(nn.Linear(4, 6), Block(), Block(), nn.Linear(6, 2))
    gates = lzero.attach_gates(model, torch.randn(3, 4), granularity="depth")
    table = table_of(gates.plan, plain)
    cost = Cost(gates, "latency", tables=table)
    (depth,) = [group for group in gates.plan.groups if group.blocks]
    p = random_p(gates, 0)
    for number, block in enumerate(depth.blocks):
        closed = p.clone()
        closed[gates.slices[depth.name].start + number] = 0.0
        gone = [layer for layer in table.layers if layer.path.startswith(f"{block.path}.")]
        rest = dataclasses.replace(table, layers=tuple(layer for layer in table.layers if layer not in gone))
        one = gates.slices[depth.name].start + number
        assert len(gone) == 2
        inner = sum(float(between(x, width(gates, x.rows, p), width(gates, x.columns, p))) for x in gone)
        assert float(cost.value(p) - cost.value(closed)) == pytest.approx(inner * float(p[one]), rel=1e-9)
        assert float(cost.gradient(p, 0)[one]) == pytest.approx(inner, rel=1e-9)
        open_ = torch.ones(len(gates), dtype=torch.bool)
        open_[one] = False
        assert float(cost.value(open_)) == pytest.approx(rest.total, rel=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_prices_are_what_opening_one_gate_adds(name):
    gates = gates_of(name)
    cost = Cost(gates, ["params", "latency"], [("",), ("",)], [None, table_of(gates.plan, stairs)])
    open_ = gates.masks.alive(gates.masks.with_floor(random_p(gates, 1) > 0.6, random_p(gates, 1)))
    for part in (0, 1):
        assert cost.is_timed(part) == (part == 1)
        price = cost.price(open_, part)
        for gate in (~open_).nonzero().flatten().tolist():
            more = open_.clone()
            more[gate] = True
            assert float(price[gate]) == pytest.approx(float((cost.value(more) - cost.value(open_))[part]), abs=1e-9)


@pytest.mark.parametrize(("ms", "bound"), [(plain, 4e-3), (stairs, 0.06)])
def test_the_expectation_of_the_milliseconds_is_near(ms, bound):
    """f(E[width]) is not E[f(width)]: how far it is off, by Monte Carlo, for gates half open and nearly settled."""
    model, plan = mlp((6, 24, 18, 4), input_gates=False)
    gates = lzero.attach_gates(model, plan)
    cost = Cost(gates, "latency", tables=table_of(plan, ms))
    generator = torch.Generator().manual_seed(0)
    for spread in (0.5, 3.0, 9.0):
        p = torch.sigmoid(spread * torch.randn(len(gates), generator=generator, dtype=DOUBLE))
        draws = torch.rand(600, len(gates), generator=generator, dtype=DOUBLE) < p
        mean = torch.stack([cost.value(draw) for draw in draws]).mean()
        assert float(abs(cost.value(p) - mean) / cost.total) < bound


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plan: table_of(mlp((5, 4, 2, 2))[1]), r"expected 2 on dim 0 of fc2.weight, found shape \[3, 4\]"),
        (lambda plan: table_of(lenet()[1]), "expected 2 on dim 0 of conv1.weight, found no such tensor"),
        (lambda plan: Table(table_of(plan).layers[:-1]), "says nothing of fc3.weight; measure this one"),
        (lambda plan: None, "a budget of latency needs what layers take by their width, found None"),
    ],
)
def test_a_table_of_another_model_is_refused(change, message):
    gates = gates_of("mlp")
    with pytest.raises(BudgetError, match=message):
        Cost(gates, "latency", tables=change(gates.plan))


def test_a_layer_may_sum_several_widths():
    """A layer that is timed in place has all of its dims on one side."""
    gates = Gates(mlp((5, 4, 3, 2), input_gates=False)[1])
    side = (("fc1.weight", 0, 4), ("fc2.weight", 0, 3), ("fc2.weight", 1, 4))
    whole = Layer("body", side, (), (1, 5, 11), (0,), ((1.0,), (2.0,), (8.0,)))
    table = Table((whole, layer_of(gates.plan, "fc3.weight", plain)))
    p = random_p(gates, 0)
    found = Cost(gates, "latency", [("body",)], table).at(p)
    leaf = p.clone().requires_grad_()
    expected = between(whole, width(gates, side, leaf), torch.zeros((), dtype=DOUBLE))
    torch.testing.assert_close(found.value, expected.detach()[None])
    torch.testing.assert_close(found.row(), torch.autograd.grad(expected, leaf)[0])


class Branch(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(6, 5), nn.Linear(5, 6)

    def forward(self, x):
        return self.down(torch.relu(self.up(x)))


class Branches(nn.Module):
    """A block of two branches, each of which can be closed alone."""

    def __init__(self):
        super().__init__()
        self.one, self.two = Branch(), Branch()

    def forward(self, x):
        x = x + self.one(x)
        return x + self.two(x)


@pytest.mark.parametrize("kind", ["unit", "input", "depth", "width+depth"])
def test_of_milliseconds_that_are_the_macs_they_are_the_macs(kind):
    """Where each layer takes as long as it has MACs, both measures are the same: for branches in blocks as well."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), *(Branches() for _ in range(3)), nn.LayerNorm(6), nn.Linear(6, 2))
    gates = lzero.attach_gates(model, torch.randn(3, 4), granularity=kind)
    assert ("depth" in kind) == any(block.closed == "zero" for group in gates.plan.groups for block in group.blocks)
    times = gates.plan.positions
    layers = [layer_of(gates.plan, name, lambda r, c, n=n: float(n * r * c)) for name, n in times.items()]
    table = Table(tuple(layers))
    both = Cost(gates, ["latency", "macs"], [("",)] * 2, [table, None])
    for seed in range(6):
        p = random_p(gates, seed)
        open_ = gates.masks.alive(gates.masks.with_floor(p > 0.5, p))
        latency, macs = both.value(open_).tolist()
        assert latency == pytest.approx(macs, rel=1e-12)
        if "width" not in kind:  # there a gate may stand on both sides of a layer, and counts once
            p = p.clamp(0.3, 1.0)  # no width below one
            latency, macs = both.value(p).tolist()
            assert latency == pytest.approx(macs, rel=0.03)
