"""Sums, maxima and spreading over stretches, by a table, one by one and by look-up: each against loops."""

from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lzero.gates import segments as module
from lzero.gates.segments import MANY_GATES, Segments

DOUBLE = torch.float64
SIZES = st.lists(st.integers(1, 6), min_size=1, max_size=6)

# Sizes from which on another way is taken, so that small vectors take each of them.
WAYS = {
    "table": {"_TABLE_GATES": 1 << 12},
    "one by one": {"MANY_GATES": 0, "_TABLE_GATES": 0},
    "look-up": {"_TABLE_GATES": 0},
    "look-up of many stretches": {"MANY_GATES": 0, "_TABLE_ENTRIES": 0, "_FEW_STRETCHES": 0},
}


def built(sizes, way):
    with mock.patch.multiple(module, **WAYS[way]):
        made = Segments(sizes)
    assert (made._table is not None) == (way == "table") and made._one_by_one == (way == "one by one")
    return made


@settings(max_examples=150, deadline=None)
@given(SIZES, st.sampled_from(sorted(WAYS)), st.data())
def test_segments_are_loops_in_every_way(sizes, way, data):
    total = sum(sizes)
    values = torch.tensor(data.draw(st.lists(st.integers(-3, 3), min_size=total, max_size=total)), dtype=DOUBLE)
    segments, pieces = built(sizes, way), torch.split(values, sizes)
    assert segments.sums(values).tolist() == [float(piece.sum()) for piece in pieces]
    assert segments.sums(values.float()).dtype is DOUBLE
    each = torch.arange(len(sizes))
    expected = [number for number, size in enumerate(sizes) for _ in range(size)]
    for kind in (each, each.double(), each.float()):
        found = segments.expand(kind)
        assert found.tolist() == expected and found.dtype is kind.dtype
    assert torch.equal(segments.expand(torch.stack([each, -each], 1))[:, 1], -torch.tensor(expected))
    first = [
        position == piece.tolist().index(max(piece.tolist())) for piece in pieces for position in range(len(piece))
    ]
    assert segments.first_largest(values).tolist() == first


@pytest.mark.parametrize(
    ("sizes", "table", "one_by_one"),
    [
        ([4096], True, False),
        ([4095, 2], False, False),
        ([1] * 256, True, False),
        ([1] * 257, False, False),  # as many entries as gates times stretches
        ([MANY_GATES - 5, 5], False, False),
        ([MANY_GATES - 5, 6], False, True),
        ([MANY_GATES] + [3] * 15, False, True),
        ([MANY_GATES] + [3] * 16, False, False),
    ],
)
def test_the_way_is_chosen_by_size_and_all_of_them_agree_with_loops(sizes, table, one_by_one):
    segments = Segments(sizes)
    assert (segments._table is not None) == table and segments._one_by_one == one_by_one
    values = torch.randint(-3, 4, (sum(sizes),), generator=torch.Generator().manual_seed(0)).double()
    starts = [sum(sizes[:n]) for n in range(len(sizes))]
    assert segments.offsets.tolist() == [*starts, sum(sizes)] and segments.lengths.tolist() == sizes
    pieces = [values[start : start + size] for start, size in zip(starts, sizes, strict=True)]
    assert segments.sums(values).tolist() == [float(piece.sum()) for piece in pieces]
    first = segments.first_largest(values).nonzero().squeeze(1).tolist()
    assert first == [start + int(piece.argmax()) for start, piece in zip(starts, pieces, strict=True)]
    each = torch.arange(len(sizes), dtype=DOUBLE)
    assert torch.equal(segments.expand(each), torch.cat([each[n].expand(size) for n, size in enumerate(sizes)]))


@pytest.mark.parametrize("way", WAYS)
def test_moving_it_changes_nothing(way):
    segments, values = built([2, 3, 1], way), torch.arange(6.0)
    segments.to(torch.device("cpu"))
    assert segments.sums(values).tolist() == [1, 9, 5] and segments.first_largest(values).tolist() == [0, 1, 0, 0, 1, 1]
    assert segments.expand(torch.tensor([1.0, 2, 3])).tolist() == [1, 1, 2, 2, 2, 3]


def test_it_moves_whole():
    segments = built([2, 3, 1], "table")
    segments.to(torch.device("meta"))
    assert {held.device.type for held in vars(segments).values() if isinstance(held, torch.Tensor)} == {"meta"}
    assert segments.sums(torch.zeros(6, device="meta")).shape == (3,)
    assert segments.expand(torch.zeros(3, device="meta", dtype=DOUBLE)).shape == (6,)
