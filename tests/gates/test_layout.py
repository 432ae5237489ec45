"""Layouts and segments against plain indexing and loops, and the deployed set against a slow one."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import sized

from lzero.gates.gates import Gates
from lzero.gates.layout import Layout
from lzero.gates.masks import Masks
from lzero.gates.segments import Segments

DOUBLE = torch.float64
sizes_ = st.lists(st.integers(1, 6), min_size=1, max_size=6)


@st.composite
def indices(draw):
    """Sizes of groups, and an index as layers have it: runs of gates in order, repeated, ungated; or anything."""
    sizes = draw(sizes_)
    total = sum(sizes)
    if draw(st.booleans()):
        return sizes, draw(st.lists(st.integers(0, total), min_size=1, max_size=200))
    index = []
    for _ in range(draw(st.integers(1, 5))):
        group = draw(st.integers(-1, len(sizes) - 1))
        repeat = draw(st.integers(1, 4))
        if group < 0:
            index += [total] * repeat
            continue
        start = sum(sizes[:group])
        first = draw(st.integers(0, sizes[group] - 1))
        last = draw(st.integers(first, sizes[group] - 1))
        index += [start + gate for gate in range(first, last + 1) for _ in range(repeat)]
    return sizes, index


@settings(max_examples=200, deadline=None)
@given(indices(), st.sampled_from([(), (3,), (2, 2)]))
def test_expanding_is_plain_indexing(case, batch):
    sizes, index = case
    layout = Layout(torch.tensor(index), sizes)
    z = torch.rand(*batch, sum(sizes), dtype=DOUBLE, requires_grad=True)
    found = layout.expand(torch.split(z, sizes, -1))
    padded = torch.cat([z, z.new_ones(*batch, 1)], -1)
    expected = padded[..., torch.tensor(index)]
    assert torch.equal(found, expected)
    if found.requires_grad:
        weight = torch.rand_like(found)
        one = torch.autograd.grad((found * weight).sum(), z, allow_unused=True)[0]
        two = torch.autograd.grad((expected * weight).sum(), z)[0]
        assert torch.allclose(torch.zeros_like(z) if one is None else one, two, rtol=1e-12)


def test_whole_groups_are_slices_and_what_has_no_order_is_looked_up():
    sizes = [3, 4]
    whole = Layout(torch.tensor([3, 4, 5, 6, 7, 7]), sizes)
    assert [(s.group, s.start, s.stop, s.repeat) for s in whole.spans] == [(1, 0, 4, 1), (-1, 0, 0, 2)]
    z = torch.split(torch.rand(7), sizes)
    assert Layout(torch.tensor([3, 4, 5, 6]), sizes).expand(z) is z[1]  # no copy
    scrambled = Layout(torch.randperm(7).repeat(30), sizes)
    assert scrambled.spans is None and len(scrambled.expand(z)) == 210


@settings(max_examples=100, deadline=None)
@given(sizes_, st.data())
def test_segments_are_loops(sizes, data):
    total = sum(sizes)
    values = torch.tensor(data.draw(st.lists(st.integers(-3, 3), min_size=total, max_size=total)), dtype=DOUBLE)
    segments, pieces = Segments(sizes), torch.split(values, sizes)
    assert segments.sums(values).tolist() == [float(piece.sum()) for piece in pieces]
    each = torch.arange(len(sizes))
    expected = [number for number, size in enumerate(sizes) for _ in range(size)]
    assert segments.expand(each).tolist() == expected
    assert torch.equal(segments.expand(torch.stack([each, -each], 1))[:, 1], -torch.tensor(expected))
    first = [
        position == piece.tolist().index(max(piece.tolist())) for piece in pieces for position in range(len(piece))
    ]
    assert segments.first_largest(values).tolist() == first


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
    sizes = draw(sizes_)
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
