"""What every module was called with: once, without the values that a proof draws anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lzero.host.inputs import Arguments
from lzero.tracing.calls import Calls
from lzero.tracing.guards import GuardLog, SizeExpr
from lzero.tracing.size_int import SizeInt


class Picks(nn.Module):
    def forward(self, table: Tensor, where: Tensor, *, scale: float = 1.0, parts: Any = ()) -> Tensor:
        return table[where] * scale


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.once, self.twice, self.never, self.picks = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4), Picks()
        self.size: Any = 3

    def forward(self, x: Tensor) -> Tensor:
        h = self.twice(self.twice(self.once(x)))
        return self.picks(h, torch.tensor([2, 0]), scale=2.0, parts=[self.size, (x, "word")])


X = torch.randn(3, 4)


def called(model: Model) -> Any:
    calls = Calls(model)
    model(X)
    return calls.remove()


def test_only_what_was_called_once_is_kept_and_no_hook_stays() -> None:
    model = Model()
    assert set(called(model)) == {"", "once", "picks"}
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_floats_are_kept_as_shapes_and_integers_as_they_are() -> None:
    found = called(Model())
    (x,) = found["once"]
    assert x.shape == (3, 4) and not x.any() and x.untyped_storage().nbytes() == x.element_size()
    table, where, inner = found["picks"]
    assert table.shape == (3, 4) and not table.any() and inner.shape == (3, 4)
    assert where.tolist() == [2, 0]


def test_arguments_come_back_by_place_and_by_name() -> None:
    given = called(Model())["picks"].value
    assert isinstance(given, Arguments) and len(given.args) == 2
    assert set(given.kwargs) == {"scale", "parts"} and given.kwargs["scale"] == 2.0


def test_what_was_kept_runs_the_module_alone() -> None:
    model = Model()
    found = called(model)
    assert found["picks"].call(model.picks).shape == (2, 4)
    assert torch.equal(found["once"].call(model.once), model.once(torch.zeros(3, 4)))


def test_later_writes_into_an_argument_do_not_reach_what_was_kept() -> None:
    class Writes(nn.Module):
        def forward(self, where: Tensor) -> Tensor:
            return where.add_(1)

    model = nn.Sequential(Writes())
    calls = Calls(model)
    model(torch.tensor([1, 2]))
    assert [tensor.tolist() for tensor in calls.remove()["0"]] == [[1, 2]]


def test_watched_sizes_become_plain_numbers() -> None:
    model = Model()
    model.size = SizeInt(3, SizeExpr((), lambda sizes: 3), GuardLog(lambda: ""))
    size = called(model)["picks"].value.kwargs["parts"][0]
    assert type(size) is int and size == 3


def test_labels_of_what_modules_are_given() -> None:
    labels = np.arange(1, 4)
    model = nn.Sequential(nn.Identity(), nn.Linear(3, 2))
    calls = Calls(model, lambda tensor: (labels,) if tensor.dim() == 1 else None)
    model(torch.ones(3))
    model(torch.ones(2, 3))
    calls.remove()
    assert [*calls.given] == ["", "0", "1"] and all(held == [labels] for held in calls.given.values())
