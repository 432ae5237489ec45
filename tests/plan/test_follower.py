"""Numbers that follow a group go where the group goes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import lzero
from lzero.errors import StructureError
from lzero.plan.follower import Follower
from lzero.plan.plan import Plan
from lzero.plan.record import record, unrecorded


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wide, self.sizes = 6, [2, 6]
        self.a, self.b = nn.Linear(5, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).view(-1, self.wide).reshape(len(x), self.sizes[1]))


NUMBERS = {Follower("", "wide", -1, 1), Follower("", "sizes", 1, 1)}


def test_a_loaded_plan_has_the_numbers_that_were_proved(tmp_path: Path) -> None:
    plan = lzero.discover(Reader(), torch.rand(3, 5))
    assert [set(group.numbers) for group in plan] == [NUMBERS]
    plan.save(tmp_path / "plan")
    again = Plan.load(tmp_path / "plan")
    assert [set(group.numbers) for group in again] == [NUMBERS]
    gates = lzero.attach_gates(Reader(), again)
    assert [set(group.numbers) for group in gates.plan] == [NUMBERS]


@pytest.mark.parametrize("entry", [["", "wide", -2, 1], ["", "wide", -1, 0], ["", 3, -1, 1], ["", "wide", -1]])
def test_a_made_up_number_is_refused(entry: list[object]) -> None:
    plan = lzero.discover(Reader(), torch.rand(3, 5))
    content = record(plan.__getstate__())
    content["groups"][0][4] = [entry]
    with pytest.raises(StructureError, match=r"groups\[0\] numbers\[0\]"):
        unrecorded(content)
