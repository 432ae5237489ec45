"""Deployable sets against enumeration, and the set that gates deploy against a slow loop."""

import itertools

import pytest
import torch
from gates.forwards import gated
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import all_masks, lenet, sized

from lzero.gates.gates import Gates
from lzero.gates.masks import Masks

SIZES = st.lists(st.integers(1, 6), min_size=1, max_size=6)

# Sizes of groups, and the owner of every gate.
LAYOUTS = {
    "free": ([2, 3], [-1] * 5),
    "owned": ([2, 4], [-1, -1, 0, 0, 1, 1]),
    "partly owned": ([2, 2, 3], [-1, -1, -1, -1, 1, 3, -1]),
    "twice owned": ([1, 2, 2, 3], [-1, -1, -1, 0, 2, 2, 1, 1]),
}


def masks_of(name):
    sizes, owners = LAYOUTS[name]
    return Masks(sizes, torch.tensor(owners) if max(owners) >= 0 else None)


@pytest.mark.parametrize("name", LAYOUTS)
def test_alive_is_open_with_an_open_owner_for_every_set(name):
    owners, masks = LAYOUTS[name][1], masks_of(name)
    for open_ in all_masks(len(owners)):
        expected = [bool(here) and (owner < 0 or bool(open_[owner])) for here, owner in zip(open_, owners, strict=True)]
        assert masks.alive(torch.from_numpy(open_)).tolist() == expected


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("seed", range(2))
def test_the_floor_opens_the_likeliest_able_gate_of_every_group_that_is_all_dead_and_nothing_else(name, seed):
    sizes, owners = LAYOUTS[name]
    masks, generator = masks_of(name), torch.Generator().manual_seed(seed)
    score = torch.rand(len(owners), generator=generator, dtype=torch.float64)
    if seed:
        score = score.round(decimals=1)  # with ties
    ends = list(itertools.accumulate(sizes, initial=0))
    for open_ in all_masks(len(owners)):
        found = masks.with_floor(torch.from_numpy(open_), score)
        added = found & ~torch.from_numpy(open_)
        alive = masks.alive(found)
        for start, end in itertools.pairwise(ends):
            able = [g for g in range(start, end) if owners[g] < 0 or bool(found[owners[g]])]
            before = any(bool(open_[g]) for g in able)
            assert int(added[start:end].sum()) == (not before)
            if not before and able:
                best = max(able, key=lambda g: (float(score[g]), -g))
                assert added[best] and alive[best]
        assert torch.equal(masks.with_floor(found, score), found)  # there is nothing left to open


def test_a_score_of_an_open_owners_gate_beats_any_other():
    masks = masks_of("owned")
    score = torch.tensor([0.9, 0.8, 0.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    assert masks.with_floor(torch.zeros(6, dtype=torch.bool), score).tolist() == [1, 0, 1, 0, 0, 0]


@pytest.mark.parametrize("name", ["free", "owned"])
def test_moving_them_changes_nothing(name):
    masks, other = masks_of(name), masks_of(name)
    masks.to(torch.device("cpu"))
    open_ = torch.arange(len(LAYOUTS[name][1])) % 2 == 1
    assert torch.equal(masks.alive(open_), other.alive(open_))
    assert (masks.owners is None) == (name == "free")


def slow_floor(sizes, owners, p, open_):
    """The likeliest gate opened in every group without a living one; owners first."""
    out, starts = list(open_), [sum(sizes[:n]) for n in range(len(sizes))]

    def alive(gate):
        return owners[gate] < 0 or out[owners[gate]]

    for owned in (False, True):
        for start, size in zip(starts, sizes, strict=True):
            gates = range(start, start + size)
            if any(owners[g] >= 0 for g in gates) != owned or any(out[g] and alive(g) for g in gates):
                continue
            able = [g for g in gates if alive(g)] or list(gates)
            out[max(able, key=lambda g: (p[g], -g))] = True
    return out


@st.composite
def gate_sets(draw):
    """Groups of which the last may be owned by gates of those before; with ties, and groups that are all closed."""
    sizes = draw(SIZES)
    owners = [-1] * sum(sizes)
    if draw(st.booleans()):
        free = sum(sizes)
        sizes = [*sizes, draw(st.integers(1, 6))]
        owners += [draw(st.integers(0, free - 1)) for _ in range(sizes[-1])]
    levels = st.sampled_from([-9.0, -3.0, -2.0, -1.59, 0.0, 4.0])
    log_alpha = draw(st.lists(levels, min_size=len(owners), max_size=len(owners)))
    open_ = draw(st.lists(st.booleans(), min_size=len(owners), max_size=len(owners)))
    return sizes, owners, log_alpha, open_


def built(sizes, owners, log_alpha):
    gates = Gates(sized({str(n): size for n, size in enumerate(sizes)}))
    gates.masks = Masks(gates.sizes, torch.tensor(owners) if max(owners) >= 0 else None)
    with torch.no_grad():
        gates.log_alpha.copy_(torch.tensor(log_alpha))
    return gates


@settings(max_examples=200, deadline=None)
@given(gate_sets())
def test_the_deployed_set_is_that_of_a_slow_loop(case):
    sizes, owners, log_alpha, open_ = case
    gates = built(sizes, owners, log_alpha)
    p = gates.probability().detach().tolist()
    floored = slow_floor(sizes, owners, p, open_)
    assert gates.with_floor(torch.tensor(open_)).tolist() == floored
    trained = slow_floor(sizes, owners, p, [value > 0.5 for value in p])
    alive = [here and (owner < 0 or trained[owner]) for here, owner in zip(trained, owners, strict=True)]
    assert gates.open_mask().tolist() == alive
    assert gates.floor().tolist() == slow_floor(sizes, owners, p, [False] * len(p))
    assert gates.owned == any(owner >= 0 for owner in owners) and gates.owners.tolist() == owners


@settings(max_examples=50, deadline=None)
@given(gate_sets())
def test_what_is_deployed_has_the_mean_and_the_rest_is_zero(case):
    sizes, owners, log_alpha, _ = case
    gates = built(sizes, owners, log_alpha)
    open_ = gates.open_mask()
    assert torch.equal(gates.evaluate(open_), gates.means() * open_)
    gates.hold(open_)
    assert torch.equal(gates.held, gates.means() * open_) and torch.equal(gates.open_mask(), open_)
    gates.train()
    gates.draw()
    assert torch.equal(gates.current().z, gates.held)
    gates.hold(None)
    gates.draw()
    assert gates.held is None and not torch.equal(gates.current().z, gates.means() * open_)


def with_log_alpha(gates, **values):
    with torch.no_grad():
        for name, value in values.items():
            gates[name.replace("_input", ".input")].copy_(torch.as_tensor(value))


def test_a_gate_whose_owner_is_closed_is_closed():
    _, gates, _ = gated(lenet)
    with_log_alpha(gates, conv1=[5, 5], conv2=[5.0, -5], fc1_input=[5.0] * 8, fc1=[5, 5])
    assert gates.split(gates.open_mask())["fc1.input"].tolist() == [True] * 4 + [False] * 4


def test_every_group_keeps_its_likeliest_living_gate():
    _, gates, _ = gated(lenet)
    # all of conv2's features that are likely belong to the channel that is closed
    with_log_alpha(gates, conv1=[-9.0, -8], conv2=[-7.0, -6], fc1_input=[9.0] * 4 + [-5, -3, -4, -6], fc1=[5, -5])
    mask = {name: part.tolist() for name, part in gates.split(gates.open_mask()).items()}
    assert mask == {
        "conv1": [False, True],
        "conv2": [False, True],
        "fc1": [True, False],
        "fc1.input": [False] * 5 + [True, False, False],
    }
    floor = {name: part.tolist() for name, part in gates.split(gates.floor()).items()}
    assert floor == mask
    z = gates.split(gates.evaluate(gates.open_mask()))
    assert z["conv1"][1] == gates.estimator.mean(gates["conv1"])[1].detach()  # open against its median


@st.composite
def stepped_sets(draw):
    """The same, where the groups of owners open in steps."""
    sizes, owners, log_alpha, open_ = draw(gate_sets())
    steps, start = [], 0
    for size in sizes:
        steps.append(1 if any(owner >= 0 for owner in owners[start : start + size]) else draw(st.integers(1, size)))
        start += size
    return sizes, owners, log_alpha, open_, steps


@settings(max_examples=200, deadline=None)
@given(stepped_sets())
def test_in_steps_a_group_is_filled_up_to_its_next_width_by_its_likeliest_gates(case):
    sizes, owners, log_alpha, open_, steps = case
    masks = Masks(sizes, torch.tensor(owners) if max(owners) >= 0 else None, steps)
    p = torch.tensor(log_alpha, dtype=torch.float64).sigmoid()
    expected, start = slow_floor(sizes, [-1] * len(p), p.tolist(), open_), 0
    for size, step in zip(sizes, steps, strict=True):
        gates = range(start, start + size)
        if not any(owners[g] >= 0 for g in gates):
            count = -(-sum(expected[g] for g in gates) // step) * step
            for g in sorted(gates, key=lambda g: (not expected[g], -float(p[g]), g))[: min(count, size)]:
                expected[g] = True
        else:
            for g in gates:
                expected[g] = open_[g]
        start += size
    expected = slow_floor(sizes, owners, p.tolist(), expected)
    found = masks.with_floor(torch.tensor(open_), p, in_steps=True)
    assert found.tolist() == expected
    assert torch.equal(masks.with_floor(found, p, in_steps=True), found)
    assert torch.equal(
        masks.with_floor(torch.tensor(open_), p), Masks(sizes, masks.owners).with_floor(torch.tensor(open_), p)
    )
    ends = list(itertools.accumulate(sizes, initial=0))
    named = [(slice(*pair), step) for pair, step in zip(itertools.pairwise(ends), steps, strict=True) if step > 1]
    assert masks.stepped == tuple(named)
