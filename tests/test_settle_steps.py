"""Settling in steps: allowed widths alone, every budget met, and no step of any group that could still be opened."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import column, inputs_of, lenet, mlp, reused, tied, units
from torch import nn

from lzero.constraints import Budgets, Constraint
from lzero.errors import BudgetError
from lzero.gates.gates import Gates
from lzero.plan.block import Block
from lzero.plan.group import GateGroup, Member
from lzero.plan.plan import Plan
from lzero.settle import fill, settle, spare


def towers(sizes=(7, 7, 5)):
    """Blocks of hidden units, two of them alike, on a stream that is a width too, and heads beside them."""
    model, groups, positions, width = nn.ModuleDict(), [], {}, 6
    stream = []
    for number, hidden in enumerate(sizes):
        block = nn.ModuleDict({"fc": nn.Linear(width, hidden), "out": nn.Linear(hidden, width)})
        heads = nn.ModuleDict({"qk": nn.Linear(width, 9), "o": nn.Linear(9, width)})
        model[f"b{number}"], model[f"a{number}"] = block, heads
        b, a = f"b{number}", f"a{number}"
        groups.append(
            units(f"{b}.fc", hidden, [f"{b}.fc.weight"], [f"{b}.fc.bias"], {f"{b}.out.weight": column(hidden)})
        )
        three = torch.arange(9).view(3, 3)
        members = (Member(f"{a}.qk.weight", 0, three, "producer"), Member(f"{a}.qk.bias", 0, three, "coupled"))
        groups.append(GateGroup(f"{a}.qk", 3, "unit", (*members, Member(f"{a}.o.weight", 1, three, "consumer"))))
        stream += [Member(f"{name}.weight", 1, column(width), "consumer") for name in (f"{b}.fc", f"{a}.qk")]
        stream += [Member(f"{name}.weight", 0, column(width), "producer") for name in (f"{b}.out", f"{a}.o")]
        positions |= {f"{name}.weight": 2 + number for name in (f"{b}.fc", f"{b}.out", f"{a}.qk", f"{a}.o")}
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    return model, Plan((*groups, GateGroup("stream", width, "unit", tuple(stream))), (), shapes, positions)


def deep():
    """Two blocks with a gate each, hidden units in one of them, and features that their reader selects."""
    blocks = [Block(path, "removed", (f"{path}.up.weight", f"{path}.down.weight")) for path in ("net.0", "net.1")]
    shapes = {f"net.{n}.{name}.weight": shape for n in (0, 1) for name, shape in (("up", (5, 4)), ("down", (4, 5)))}
    shapes |= {"stem.weight": (4, 3), "head.weight": (2, 4)}
    hidden = units("net.0.up", 5, ["net.0.up.weight"], [], {"net.0.down.weight": column(5)})
    groups = (hidden, GateGroup("net", 2, "depth", (), blocks=tuple(blocks)), inputs_of("stem", 3))
    return None, Plan(groups, (), shapes, dict.fromkeys(shapes, 1))


def branches():
    """Two blocks with a gate each and two branches with one in each, hidden units in one of these, and a stem."""
    tensors = [[f"net.{n}.{branch}.{name}.weight" for branch in "ab" for name in ("up", "down")] for n in (0, 1)]
    shapes = {name: (7, 4) if ".up." in name else (4, 7) for names in tensors for name in names}
    shapes |= {"stem.weight": (6, 3), "join.weight": (4, 6)}
    whole = [Block(f"net.{n}", "identity", tuple(names)) for n, names in enumerate(tensors)]
    inner = [
        Block(f"net.{n}.{branch}", "zero", tuple(name for name in names if f".{branch}." in name))
        for n, names in enumerate(tensors) for branch in "ab"
    ]  # fmt: skip
    groups = (
        units("stem", 6, ["stem.weight"], [], {"join.weight": column(6)}),
        units("net.0.a.up", 7, ["net.0.a.up.weight"], [], {"net.0.a.down.weight": column(7)}),
        units("net.1.b.up", 7, ["net.1.b.up.weight"], [], {"net.1.b.down.weight": column(7)}),
        GateGroup("net", 2, "depth", (), blocks=tuple(whole)),
        GateGroup("net.branches", 4, "depth", (), blocks=tuple(inner)),
    )
    return None, Plan(groups, (), shapes, dict.fromkeys(shapes, 1))


PLANS = {
    "mlp": lambda: mlp((4, 9, 7, 3)),
    "convolutions with features": lambda: lenet(5, 4, 6),
    "reused": lambda: reused(7),
    "tied": lambda: tied(6),
    "towers": towers,
    "deep": deep,
    "branches": branches,
}
MADE = {name: make()[1] for name, make in PLANS.items()}


@st.composite
def situations(draw, uniform=False, single=False, distinct=False):
    """Gates with random probabilities (with ties unless ``distinct``), one step or two, and feasible budgets."""
    name = "towers" if uniform else draw(st.sampled_from(sorted(PLANS)))
    plan = MADE[name]
    round_to = draw(st.integers(1, 9))
    if not uniform and draw(st.booleans()):
        paths = sorted({tensor.split(".")[0] for group in plan for tensor in group.tensors})
        round_to = {draw(st.sampled_from(paths)): round_to, "": draw(st.integers(1, 4))}
    gates = Gates(replace(plan, round_to=round_to))
    values = torch.tensor(draw(st.lists(st.integers(-8, 6), min_size=len(gates), max_size=len(gates)))).double()
    if distinct or draw(st.booleans()):
        values += torch.tensor(draw(st.permutations(range(len(gates))))) / 100
    with torch.no_grad():
        gates.log_alpha.copy_(values / draw(st.sampled_from([1.0, 0.7, 7.0])))
    chosen = draw(
        st.lists(st.sampled_from(["params", "macs", "gates"]), min_size=1, max_size=1 if single else 3, unique=True)
    )
    constraints = []
    for measure in chosen:
        each_layer = not single and draw(st.booleans())
        try:
            whole = Budgets([Constraint(1.0, measure, each_layer=each_layer)], gates)
        except BudgetError:  # nothing there counts
            each_layer, whole = False, Budgets([Constraint(1.0, measure)], gates)
        least = float(whole.cost.fraction(gates.floor()).max())
        target = least + (1 - least) * draw(st.floats(0, 1))
        constraints.append(Constraint(min(max(target, least), 1.0), measure, each_layer=each_layer, uniform=uniform))
    return gates, Budgets(constraints, gates)


def families_of(gates, budgets):
    """Tuples of names of the groups that open together: families, and every other group of units alone."""
    named = {where.start: name for name, where in gates.slices.items()}
    tied_ones = [tuple(named[where.start] for where in family) for family in budgets.families]
    rest = [(group.name,) for group in gates.plan.groups if not any(group.name in family for family in tied_ones)]
    return [*tied_ones, *rest]


def allowed(size, step):
    return {*range(step, size, step), size}


def next_steps(gates, budgets, open_):
    """Of every family the sets, bool [G], with its next step opened, likeliest gates first; of others each gate."""
    p, owners, found = gates.probability().tolist(), gates.owners.tolist(), []
    for family in families_of(gates, budgets):
        where, step = gates.slices[family[0]], gates.plan.steps[family[0]]
        count = int(open_[where].sum())
        if len(family) == 1 and step == 1:
            for gate in range(where.start, where.stop):
                if not open_[gate] and (owners[gate] < 0 or open_[owners[gate]]):
                    found.append(open_.clone())
                    found[-1][gate] = True
        elif count < where.stop - where.start:
            more = open_.clone()
            for name in family:
                gate = gates.slices[name]
                closed = [g for g in range(gate.start, gate.stop) if not open_[g]]
                more[sorted(closed, key=lambda g: -p[g])[: min(step, len(closed))]] = True
            found.append(more)
    return found


def check(gates, budgets, open_):
    assert budgets.met(open_) and torch.equal(open_, gates.alive(open_))
    for name, mask in gates.split(open_).items():
        size, step = len(mask), gates.plan.steps[name]
        assert int(mask.sum()) in allowed(size, step), name
        p = gates[name].detach()
        if step > 1 and not mask.all():
            assert p[mask].min() >= p[~mask].max()  # the likeliest of its group
    for family in families_of(gates, budgets):
        assert len({int(open_[gates.slices[name]].sum()) for name in family}) == 1
    for more in next_steps(gates, budgets, open_):
        assert not budgets.met(more), "a step could be opened"


@settings(max_examples=60, deadline=None)
@given(situations())
def test_only_allowed_widths_are_shipped_and_no_step_could_be_opened(situation):
    gates, budgets = situation
    check(gates, budgets, settle(gates, budgets).open)


@settings(max_examples=40, deadline=None)
@given(situations(uniform=True))
def test_so_it_is_where_groups_alike_keep_the_same_number(situation):
    gates, budgets = situation
    check(gates, budgets, settle(gates, budgets).open)


@settings(max_examples=40, deadline=None)
@given(st.one_of(situations(distinct=True), situations(uniform=True, distinct=True)))
def test_it_is_the_greedy_choice_written_out_step_by_step(situation):
    """Steps by their mean probability, one that does not fit takes all later ones of its group with it."""
    gates, budgets = situation
    p, owners = gates.probability().detach().double(), gates.owners.tolist()
    floor = gates.floor()
    if not budgets.met(floor):
        floor = budgets.cheapest(gates.masks, gates.probability().detach())
    bundles = []  # mean, first number, place in its group, gates
    for family in families_of(gates, budgets):
        step, ranked = gates.plan.steps[family[0]], []
        for name in family:
            where = range(gates.slices[name].start, gates.slices[name].stop)
            ranked.append(sorted(where, key=lambda g: (not floor[g], -float(p[g]), g)))
        first = gates.slices[family[0]].start
        for place in range(0, len(ranked[0]), step):
            members = [gate for group in ranked for gate in group[place : place + step]]
            mean = float(p[members].mean())
            number = first + place if len(members) > 1 or len(family) > 1 else members[0]
            bundles.append((mean, number, (family, step) if step > 1 else None, members))
    mean_of = {gate: mean for mean, _, _, members in bundles for gate in members}

    def rank(bundle):
        mean, number, _, members = bundle
        owner = owners[members[0]]
        return -min(mean, mean_of.get(owner, 1.0)), owner >= 0, -mean, number

    open_, refused = floor.clone(), set()
    for *_, members in bundles:
        open_[members] |= bool(floor[members].any())
    for bundle in sorted(bundles, key=rank):
        _, _, chain, members = bundle
        more = open_.clone()
        more[members] = True
        owner = owners[members[0]]
        if chain not in refused and (owner < 0 or open_[owner]) and budgets.met(more):
            open_ = more
        elif chain is not None and not open_[members].all():
            refused.add(chain)
    assert torch.equal(settle(gates, budgets).open, gates.alive(open_))


@settings(max_examples=40, deadline=None)
@given(situations(single=True))
def test_what_a_single_budget_has_to_spare_is_less_than_the_cheapest_step(situation):
    gates, budgets = situation
    open_ = settle(gates, budgets).open
    value = budgets.cost.value(open_)
    prices = [float(budgets.cost.value(more) - value) for more in next_steps(gates, budgets, open_)]
    prices = [price for price in prices if price > 0]
    room = float(budgets.targets * budgets.cost.total - value)
    found = float(spare(gates, budgets, open_))
    assert found == pytest.approx(room / min(prices) if prices else 0.0, abs=1e-9)
    assert 0 <= found < 1 + 1e-12


@settings(max_examples=60, deadline=None)
@given(situations())
def test_without_budgets_every_group_is_at_the_next_width_by_its_likeliest_gates(situation):
    gates, _ = situation
    settled = settle(gates, None)
    before = gates.split(gates.open_mask())
    assert torch.equal(settled.before, gates.open_mask())
    for name, mask in gates.split(settled.open).items():
        step, size, p = gates.plan.steps[name], len(mask), gates[name].detach()
        if step > 1:
            count = int(before[name].sum())
            assert int(mask.sum()) == min(math.ceil(count / step) * step, size)
            assert bool((mask >= before[name]).all())
            assert mask.all() or p[mask].min() >= p[~mask].max()
        else:
            assert torch.equal(mask, before[name])
    gates.hold(settled.open)
    assert torch.equal(settle(gates, None).open, settled.open) and settle(gates, None).moved == 0


@settings(max_examples=30, deadline=None)
@given(situations())
def test_the_floor_of_gates_and_plan_is_one_step_of_every_group(situation):
    gates, _ = situation
    for name, mask in gates.split(gates.floor()).items():
        assert int(mask.sum()) == gates.plan.steps[name]
    if not any(group.blocks for group in gates.plan):
        cost = Budgets([Constraint(1.0)], gates).cost
        assert gates.plan.floor() == pytest.approx(float(cost.fraction(gates.floor())), abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(situations(), st.randoms(use_true_random=False))
def test_a_mask_of_the_pruning_baselines_is_filled_in_steps_too(situation, random):
    gates, budgets = situation
    order = list(range(len(gates)))
    random.shuffle(order)
    priority = torch.empty(len(order), dtype=torch.float64)
    priority[torch.tensor(order)] = torch.linspace(1, 0, len(order), dtype=torch.float64)
    try:
        open_ = fill(priority, budgets, gates.masks)
    except BudgetError:
        return
    assert budgets.met(open_)
    for name, mask in gates.split(open_).items():
        assert int(mask.sum()) in allowed(len(mask), gates.plan.steps[name])


def test_a_remainder_that_would_fit_is_no_step_of_its_own():
    """Of 20 units in steps of 8 the last 4 may only follow the 16 before them."""
    member = Member("w", 1, torch.arange(20)[:, None], "consumer")
    gates = Gates(Plan((GateGroup("g", 20, "unit", (member,)),), (), {"w": (1, 20)}, {}, round_to=8))
    for target, count in ((8 / 20, 8), (12 / 20, 8), (15 / 20, 8), (16 / 20, 16), (19 / 20, 16), (1.0, 20)):
        assert int(settle(gates, Budgets([Constraint(target)], gates)).open.sum()) == count


def test_a_budget_below_one_step_of_everything_is_refused_with_the_step_in_the_message():
    gates = Gates(replace(mlp((4, 9, 7, 3))[1], round_to=4))
    least = gates.plan.floor()
    Budgets([Constraint(least + 1e-9)], gates)
    expected = rf"one step \(round_to=4; .*\) of every gated layer, already cost {least:.6g}"
    with pytest.raises(BudgetError, match=expected):
        Budgets([Constraint(least - 1e-3)], gates)
    assert "one step of every group" in str(gates.plan.check(least - 1e-3)) and gates.plan.check(least)
    budgets = Budgets([Constraint(0.9)], gates)
    with pytest.raises(BudgetError, match="settle: one step of every layer"):
        settle(gates, budgets, torch.tensor([0.01], dtype=torch.float64))


def test_groups_alike_that_open_in_other_steps_cannot_keep_the_same_number():
    gates = Gates(replace(towers()[1], round_to={"": 2, "b0": 3}))
    with pytest.raises(
        BudgetError, match=r"b0\.fc by 3 and b1\.fc by 2 do not open alike; give both the same round_to"
    ):
        Budgets([Constraint(0.8, uniform=True)], gates)
    Budgets([Constraint(0.8, uniform=True)], Gates(replace(towers()[1], round_to={"": 2, "b0": 4, "b1": 4})))
