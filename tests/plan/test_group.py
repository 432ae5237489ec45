"""Groups and their members: widths, readers, and the positions that survive."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lzero.plan.group import GateGroup, Member


def member(index: list[list[int]], role: str = "consumer") -> Member:
    return Member("w", 1, torch.tensor(index), role)  # type: ignore[arg-type]


def test_the_width_is_positions_a_gate() -> None:
    assert member([[0], [1]]).width == 1 and member([[0, 3, 4], [1, 2, 5]]).width == 3


def test_consumers_are_the_members_that_read() -> None:
    parts = (member([[0]], "producer"), member([[1]]), member([[2]], "coupled"), member([[3]]))
    assert GateGroup("g", 1, "unit", parts).consumers == (parts[1], parts[3])


@given(st.data())
def test_positions_survive_unless_a_closed_gate_owns_them(data: st.DataObject) -> None:
    size, width = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3))
    length = size * width + data.draw(st.integers(0, 3))
    order = data.draw(st.permutations(range(length)))
    index = torch.tensor(order[: size * width]).view(size, width)
    keep = torch.tensor(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    alive = Member("w", 0, index, "coupled").expand(keep, length, fill=True)
    closed = {position for gate in range(size) if not keep[gate] for position in index[gate].tolist()}
    assert alive.tolist() == [position not in closed for position in range(length)]


def test_groups_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        GateGroup("g", 1, "unit", ()).size = 2  # type: ignore[misc]
