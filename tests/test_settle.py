"""Settling: every budget is met, and no unit that is left could be added."""

import pytest
import torch
from hand_tables import plain, stairs, table_of
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import CASES, Truth, mlp
from torch import nn

from lzero.attach import attach_gates
from lzero.constraints import Budgets, Constraint
from lzero.errors import BudgetError
from lzero.gates.gates import Gates
from lzero.plan.block import Block
from lzero.plan.group import GateGroup, Member
from lzero.plan.plan import Plan
from lzero.settle import breaking, fill, settle

GATED = {}


def gated(name, log_alpha=None):
    if name not in GATED:
        torch.manual_seed(0)
        model, plan = CASES[name]()
        GATED[name] = (model, attach_gates(model, plan))
    gates = GATED[name][1]
    if log_alpha is not None:
        with torch.no_grad():
            gates.log_alpha.copy_(log_alpha)
    return gates


@st.composite
def situations(draw, single):
    """Gates with random probabilities (with ties) and one or several feasible budgets."""
    name = draw(st.sampled_from(sorted(CASES)))
    gates = gated(name)
    values = draw(st.lists(st.integers(-8, 6), min_size=len(gates), max_size=len(gates)))
    gates = gated(name, torch.tensor(values) / draw(st.sampled_from([1.0, 0.7, 7.0])))
    measures = ["params", "macs", "gates", "latency"]
    chosen = draw(st.lists(st.sampled_from(measures), min_size=1, max_size=1 if single else 3, unique=True))
    table = table_of(gates.plan, draw(st.sampled_from([stairs, plain])))
    constraints = []
    for measure in chosen:
        each_layer = not single and measure != "latency" and draw(st.booleans())
        options = {"each_layer": each_layer, "table": table if measure == "latency" else None}
        whole = Budgets([Constraint(1.0, measure, **options)], gates)
        least = float(whole.cost.fraction(gates.floor()).max())
        target = least + (1 - least) * draw(st.floats(0, 1))
        constraints.append(Constraint(min(max(target, least), 1.0), measure, **options))
    return gates, Budgets(constraints, gates)


def one_budget(target, gates):
    return Budgets([Constraint(target)], gates)


def met(budgets, open_):
    return bool((budgets.cost.fraction(open_) <= budgets.targets).all())


def check(gates, budgets, settled):
    open_ = settled.open
    assert met(budgets, open_)
    assert torch.equal(open_, gates.alive(open_))
    for group in gates.split(open_).values():
        assert group.any()
    for gate in (~open_).nonzero().flatten().tolist():
        owner = int(gates.owners[gate])
        if owner < 0 or open_[owner]:
            more = open_.clone()
            more[gate] = True
            assert not met(budgets, more), f"gate {gate} could be opened"


@settings(max_examples=80, deadline=None)
@given(situations(single=False))
def test_every_budget_is_met_and_no_closed_gate_could_be_opened(situation):
    gates, budgets = situation
    check(gates, budgets, settle(gates, budgets))


@settings(max_examples=80, deadline=None)
@given(situations(single=True))
def test_a_single_budget_is_met_with_less_than_one_unit_to_spare(situation):
    gates, budgets = situation
    settled = settle(gates, budgets)
    check(gates, budgets, settled)
    spare = float(budgets.targets - budgets.cost.fraction(settled.open))
    assert spare >= 0
    free = (gates.owners < 0) | settled.open[gates.owners]
    prices = budgets.cost.price(settled.open, 0) / budgets.cost.total
    left = prices[~settled.open & free]
    assert not len(left) or spare < float(left.min())


@settings(max_examples=60, deadline=None)
@given(situations(single=True))
def test_a_gate_that_is_left_out_was_less_likely_than_all_before_it_or_did_not_fit(situation):
    """Greedy, written out: one gate at a time in order of probability, a feature after its channel."""
    gates, budgets = situation
    p = gates.probability().detach()
    rank = torch.where(gates.owners >= 0, torch.minimum(p, p[gates.owners]), p).tolist()
    open_ = gates.floor()
    for gate in sorted(range(len(gates)), key=lambda g: (-rank[g], int(gates.owners[g]) >= 0, -float(p[g]), g)):
        owner = int(gates.owners[gate])
        more = open_.clone()
        more[gate] = True
        if (owner < 0 or open_[owner]) and met(budgets, more):
            open_ = more
    assert torch.equal(settle(gates, budgets).open, open_)


def test_without_budgets_the_open_gates_decide():
    gates = gated("lenet", torch.linspace(-4, 3, 14))
    settled = settle(gates, None)
    assert torch.equal(settled.open, gates.open_mask()) and (settled.threshold, settled.moved) == (0.5, 0)


def test_training_that_landed_on_the_budget_is_left_alone():
    gates = gated("units", torch.tensor([3.0, 2, -4, -5, 3, -6, 1]))
    deployed = float(one_budget(1.0, gates).cost.fraction(gates.open_mask()))
    settled = settle(gates, one_budget(deployed, gates))
    assert torch.equal(settled.open, gates.open_mask()) and (settled.threshold, settled.moved) == (0.5, 0)


def test_features_of_closed_channels_do_not_count_as_moved():
    """A likely feature of a closed channel is closed before and after, and does not set the threshold."""
    gates = gated("lenet")
    names = list(gates.slices)
    assert names == ["conv1", "conv2", "fc1", "fc1.input"]
    values = {"conv1": [5.0, 5], "conv2": [5.0, -5], "fc1": [5.0, 5], "fc1.input": [6.0] * 8}
    gates = gated("lenet", torch.cat([torch.tensor(values[name]) for name in names]))
    deployed = float(one_budget(1.0, gates).cost.fraction(gates.open_mask()))
    settled = settle(gates, one_budget(deployed, gates))
    assert (settled.threshold, settled.moved) == (0.5, 0)


def test_the_threshold_is_the_likeliest_gate_that_stays_closed():
    gates = gated("units", torch.tensor([3.0, 2, 1, 0, 3, 2, 1]))
    settled = settle(gates, one_budget(0.5, gates))
    p = gates.probability().detach()
    assert 0.5 < settled.threshold == float(p[~settled.open].max())
    assert settled.moved == int((~settled.open).sum())


def test_a_likely_feature_of_a_closed_channel_does_not_raise_the_threshold():
    gates = gated("lenet")
    values = {"conv1": [5.0, 5], "conv2": [5.0, -5], "fc1": [5.0, 1], "fc1.input": [6.0] * 8}
    gates = gated("lenet", torch.cat([torch.tensor(values[name]) for name in gates.slices]))
    deployed = float(one_budget(1.0, gates).cost.fraction(gates.open_mask()))
    settled = settle(gates, one_budget(deployed - 1e-3, gates))
    assert settled.moved > 0 and not settled.open[gates.slices["fc1"].stop - 1]
    assert settled.threshold == float(gates.probability()[gates.slices["fc1"].stop - 1].detach())


def test_everything_opens_at_a_density_of_one():
    gates = gated("lenet", torch.full((14,), -6.0))
    settled = settle(gates, one_budget(1.0, gates))
    assert settled.open.all() and settled.threshold == 0.0


def test_equal_probabilities_settle_in_one_way():
    gates = gated("units", torch.zeros(7))
    budget = one_budget(0.5, gates)
    one, two = settle(gates, budget), settle(gates, budget)
    assert torch.equal(one.open, two.open)
    check(gates, budget, one)


def test_many_gates_settle_in_few_evaluations(monkeypatch):
    torch.manual_seed(0)
    model, plan = mlp((300, 200, 100, 10))
    gates = attach_gates(model, plan)
    with torch.no_grad():
        gates.log_alpha.normal_(std=3)
    budget = one_budget(0.2, gates)
    value, calls = type(budget.cost).value, []
    monkeypatch.setattr(type(budget.cost), "value", lambda self, p: calls.append(1) or value(self, p))
    settled = settle(gates, budget)
    assert len(calls) < 200
    monkeypatch.undo()
    truth = Truth.of(plan, gates)
    assert float(budget.cost.value(settled.open)) == truth.count(settled.open[None].numpy())[0]


def test_a_budget_below_the_floor_is_an_error_and_not_a_dead_layer():
    gates = gated("reused", torch.zeros(4))
    budget = one_budget(0.9, gates)
    budget.targets.fill_(0.01)
    with pytest.raises(BudgetError, match="settle: one unit of every layer already exceeds a budget"):
        settle(gates, budget)


def test_other_targets_than_those_of_the_budgets_may_be_given():
    gates = gated("units", torch.tensor([3.0, 2, 1, 0, 3, 2, 1]))
    budgets, targets = one_budget(1.0, gates), torch.tensor([0.5], dtype=torch.float64)
    assert torch.equal(settle(gates, budgets, targets).open, settle(gates, one_budget(0.5, gates)).open)
    assert settle(gates, budgets).open.all()


@settings(max_examples=60, deadline=None)
@given(situations(single=False), st.randoms(use_true_random=False))
def test_any_order_is_filled_as_by_hand_and_nothing_is_read_of_the_gates_but_who_owns_whom(situation, random):
    gates, budgets = situation
    order = list(range(len(gates)))
    random.shuffle(order)
    priority = torch.empty(len(order), dtype=torch.float64)
    priority[torch.tensor(order)] = torch.linspace(1, 0, len(order), dtype=torch.float64)
    log_alpha = gates.log_alpha.detach().clone()
    gates.log_alpha.data.fill_(float("nan"))
    try:
        found = fill(priority, budgets, gates.masks)
        open_ = gates.masks.with_floor(torch.zeros(len(order), dtype=torch.bool), priority)
    except BudgetError:
        return
    finally:
        gates.log_alpha.data.copy_(log_alpha)
    owners = gates.owners.tolist()
    place = {gate: position for position, gate in enumerate(order)}
    rank = {gate: max(place[gate], place.get(owners[gate], 0)) for gate in order}
    for gate in sorted(order, key=lambda g: (rank[g], owners[g] >= 0)):
        more = open_.clone()
        more[gate] = True
        if (owners[gate] < 0 or open_[owners[gate]]) and met(budgets, more):
            open_ = more
    assert torch.equal(found, gates.alive(open_))


@settings(max_examples=60, deadline=None)
@given(situations(single=False))
def test_what_breaks_a_budget_is_what_opening_it_alone_would(situation):
    gates, budgets = situation
    open_ = gates.floor()
    found = breaking(budgets, open_)
    for gate in (~open_).nonzero().flatten().tolist():
        more = open_.clone()
        more[gate] = True
        assert bool(found[gate]) != met(budgets, more)


class Blocks(nn.Module):
    """Two blocks alike, an odd one between them, and a layer of its own before."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(3, 4)
        self.blocks = nn.ModuleList(nn.ModuleDict({"fc": nn.Linear(4, k), "out": nn.Linear(k, 4)}) for k in (5, 6, 5))

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x + block["out"](torch.tanh(block["fc"](x)))
        return x


@st.composite
def uniform_situations(draw):
    if "blocks" not in GATED:
        torch.manual_seed(0)
        model = Blocks()
        GATED["blocks"] = (model, attach_gates(model, torch.rand(2, 3)))
    gates = GATED["blocks"][1]
    values = draw(st.lists(st.integers(-8, 6), min_size=len(gates), max_size=len(gates)))
    gates = gated("blocks", torch.tensor(values) / draw(st.sampled_from([1.0, 0.7])))
    measure = draw(st.sampled_from(["params", "macs", "gates"]))
    least = float(Budgets([Constraint(1.0, measure)], gates).cost.fraction(gates.floor()))
    target = least + (1 - least) * draw(st.floats(0, 1))
    return gates, Budgets([Constraint(min(max(target, least), 1.0), measure, uniform=True)], gates)


@settings(max_examples=60, deadline=None)
@given(uniform_situations())
def test_a_uniform_budget_keeps_groups_alike_alike_and_is_filled_as_by_hand(situation):
    gates, budgets = situation
    p, one, two = gates.probability().detach(), *(gates.slices[f"blocks.{i}.fc"] for i in (0, 2))
    best = [where.start + torch.argsort(p[where], descending=True, stable=True) for where in (one, two)]
    bundles = [[int(a), int(b)] for a, b in zip(*best, strict=True)]
    bundles += [
        [gate] for gate in range(len(gates)) if not (one.start <= gate < one.stop or two.start <= gate < two.stop)
    ]
    open_ = gates.floor()
    for bundle in sorted(bundles, key=lambda b: (-float(p[b].mean()), min(b))):
        more = open_.clone()
        more[bundle] = True
        if met(budgets, more):
            open_ = more
    settled = settle(gates, budgets).open
    assert torch.equal(settled, open_) and met(budgets, settled) and settled[one].sum() == settled[two].sum() > 0


def test_gates_in_a_block_that_leaves_are_not_counted_as_moved():
    """They may be open or closed: nothing of them is shipped."""
    member = Member("net.0.w", 1, torch.arange(4)[:, None], "consumer")
    blocks = tuple(Block(f"net.{n}", "removed", (f"net.{n}.w",)) for n in range(2))
    groups = (GateGroup("net", 2, "depth", (), blocks=blocks), GateGroup("units", 4, "unit", (member,)))
    gates = Gates(Plan(groups, (), {"net.0.w": (3, 4), "net.1.w": (3, 4)}, {}))
    with torch.no_grad():
        gates["net"].copy_(torch.tensor([-9.0, 9.0]))
        gates["units"].copy_(torch.tensor([9.0, -3.0, -4.0, -5.0]))
    settled = settle(gates, Budgets([Constraint(0.5)], gates))
    assert settled.open.tolist() == [False, True, True, True, True, True]
    assert settled.before.tolist() == [False, True, True, False, False, False]
    assert settled.moved == 0 and settled.threshold == 0.5


def test_of_blocks_of_unequal_size_a_small_one_is_left_where_the_likeliest_is_too_large():
    blocks = [Block(path, "removed", (f"{path}.w",)) for path in ("net.0", "net.1")]
    shapes = {"net.0.w": (10,), "net.1.w": (4,), "head.w": (6, 2)}
    head = GateGroup("head", 6, "unit", (Member("head.w", 0, torch.arange(6)[:, None], "consumer"),))
    plan = Plan((head, GateGroup("net", 2, "depth", (), blocks=tuple(blocks))), (), shapes, {})
    gates = Gates(plan)
    gates.log_alpha.data[gates.slices["net"]] = torch.tensor([3.0, -3.0])
    budgets = Budgets([Constraint(10 / 26)], gates)
    open_ = settle(gates, budgets).open
    assert gates.split(open_)["net"].tolist() == [False, True]
    assert float(budgets.cost.value(open_)) == 4 + 2 * 3
    with pytest.raises(BudgetError, match=r"ask for at least 0\.230770"):
        Budgets([Constraint(5 / 26)], gates)
