"""Layouts against plain indexing."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lzero.gates.layout import Layout

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
