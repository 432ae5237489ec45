"""Readings of numbers: what the forward tells first, then guesses, then none."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from traps import X, mlp

import lzero
from lzero.host.copies import private_copy
from lzero.proving.readings import Readings
from lzero.tracing.grouping import unit_groups
from lzero.tracing.tracer import trace


def readings(model: nn.Module) -> Readings:
    spare = private_copy(model)
    seen = trace(spare, X)
    return Readings(unit_groups(seen, model, lambda members: None)[0], seen, spare)


def test_what_is_told_needs_no_guess() -> None:
    (group,) = readings(mlp(lambda net, h: h.view(-1, net.answer), answer=12)).groups
    assert [(n.name, n.each) for n in group.numbers] == [("answer", 1)]


def test_what_is_not_told_is_guessed_and_then_left_out() -> None:
    found = readings(mlp(lambda net, h: h.relu(), hidden_size=12))
    (group,) = found.groups
    assert [n.name for n in group.numbers] == ["hidden_size"]
    assert [[g.numbers for g in again] for again in found.others([], ["a"])] == [[()]]
    assert [*found.others([group], [])] == []
    assert found.extent == (12 * 5 + 12 + 12 * 2, 12)


class Repeated(nn.Module):
    """Multiplies by a number that is as large as its hidden layer, where no trace sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden_size, self.a, self.b = 12, nn.Linear(5, 12), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).relu()) * len([*range(self.hidden_size)])


@pytest.mark.filterwarnings("ignore:.*no budget was given")
def test_the_reading_that_is_proved_is_the_one_that_purge_takes() -> None:
    gates = lzero.attach_gates(model := Repeated(), X)
    (group,) = gates.plan.groups
    assert group.size == 12 and group.numbers == ()
    with torch.no_grad():
        gates.log_alpha[::2] = -9.0
    small = lzero.purge(model, settle=False).model
    assert isinstance(small, Repeated) and small.hidden_size == 12 and small.a.out_features == 6
