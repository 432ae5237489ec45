"""How much of a model gates can remove: marked element by element."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from lzero.plan.group import GateGroup, Member
from lzero.plan.ownership import reach

SHAPES = {"a": (3, 4), "b": (4,), "c": (2, 3, 2)}


@st.composite
def members(draw: Any) -> Member:
    name = draw(st.sampled_from([*SHAPES, "buffer"]))
    shape = SHAPES.get(name, (5,))
    dim = draw(st.integers(-1, len(shape) - 1))
    length = torch.Size(shape).numel() if dim < 0 else shape[dim]
    positions = draw(st.lists(st.integers(0, length - 1), min_size=1, max_size=3, unique=True))
    return Member(name, dim, torch.tensor(positions)[:, None], "coupled")


def marked(groups: list[GateGroup]) -> int:
    """Elements on an owned position of some dim; a gate of single weights has all of its tensor."""
    total = 0
    for name, shape in SHAPES.items():
        owned = torch.zeros(shape, dtype=torch.bool)
        for member in (member for group in groups for member in group.members if member.tensor == name):
            if member.dim < 0:
                owned[...] = True
            else:
                owned.movedim(member.dim, 0)[member.index.flatten()] = True
        total += int(owned.sum())
    return total


@given(st.lists(st.lists(members(), min_size=1, max_size=3), max_size=4))
def test_reach_is_what_marking_every_element_gives(drawn: list[list[Member]]) -> None:
    groups = [GateGroup(str(i), len(held[0].index), "unit", tuple(held)) for i, held in enumerate(drawn)]
    assert reach(groups, SHAPES) == marked(groups)
    assert reach(iter(groups), SHAPES) <= sum(torch.Size(shape).numel() for shape in SHAPES.values())


def test_no_groups_reach_nothing() -> None:
    assert reach([], SHAPES) == 0 == reach([], {})
