"""A copy that holds parts of the model is refused before anything is written into it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from nets import Net
from plans import same, snapshot
from torch import Tensor, nn

import lzero
from lzero.errors import StructureError
from lzero.host.copies import deep_copy, linked_copy, private_copy
from lzero.host.sharing import check_apart

X = torch.randn(4, 6)


class Itself(nn.Linear):
    """A part that is meant to exist once: its copies are itself."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Itself:
        return self


class SameTensors(nn.BatchNorm1d):
    """A new module around the old parameters."""

    def __deepcopy__(self, memo: dict[int, Any]) -> SameTensors:
        return copy.copy(self)


class SameMemory(nn.Linear):
    """New parameters on the old memory."""

    def __deepcopy__(self, memo: dict[int, Any]) -> SameMemory:
        made = SameMemory(self.in_features, self.out_features)
        made.weight, made.bias = nn.Parameter(self.weight.data), nn.Parameter(self.bias.data.clone())
        return made


class SameBuffer(nn.BatchNorm1d):
    """New parameters, but the statistics of the original."""

    def __deepcopy__(self, memo: dict[int, Any]) -> SameBuffer:
        made = SameBuffer(self.num_features)
        made.load_state_dict(self.state_dict())
        made.running_mean = self.running_mean
        return made


def plain(net: Any, x: Tensor) -> Tensor:
    return net.b(net.part(net.a(x)).relu())


def listed(part: nn.Module) -> Net:
    net = Net(lambda net, x: net.b(net.parts["all"][0](net.a(x)).relu()), a=nn.Linear(6, 6), b=nn.Linear(6, 2))
    net.parts = {"all": [part]}  # type: ignore[assignment]
    return net


def registered(part: nn.Module) -> Net:
    return Net(plain, a=nn.Linear(6, 6), part=part, b=nn.Linear(6, 2))


SHARED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "a module that is its own copy": (lambda: registered(Itself(6, 6)), r"^part: .* the module itself \(Itself\)"),
    "parameters": (lambda: registered(SameTensors(6)), r"^part: .* its tensor 'weight' \(SameTensors\)"),
    "the memory of a parameter": (lambda: registered(SameMemory(6, 6)), r"^part: .*its tensor 'weight' \(SameMemory\)"),
    "a buffer": (lambda: registered(SameBuffer(6)), r"^part: .*its tensor 'running_mean' \(SameBuffer\)"),
    "nested": (lambda: nn.Sequential(registered(Itself(6, 6))), r"^0\.part: .*Itself\.__deepcopy__"),
    "the whole model": (lambda: Itself(6, 6), "^Itself: a copy of the model shares the module itself"),
    "in a plain list": (lambda: listed(Itself(6, 6)), r"^parts: .* the module itself \(Itself\)"),
}


@pytest.mark.parametrize("case", SHARED)
def test_a_copy_that_shares_is_refused_and_the_model_left_as_it_was(case: str) -> None:
    build, message = SHARED[case]
    model = build()
    before = snapshot(model)
    for act in (private_copy, deep_copy, lambda model: lzero.discover(model, X)):
        with pytest.raises(StructureError, match=message):
            act(model)
    same(before, snapshot(model))


def test_copies_of_all_the_usual_kinds_share_nothing() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.LSTM(6, 4))
    model.append(model[0])
    model.register_buffer("some", model[0].weight.detach()[:3])  # on the memory of a parameter
    model.sparse = torch.eye(3).to_sparse()
    check_apart(model, deep_copy(model))
    linked = linked_copy(model)
    check_apart(model, linked, list(model.parameters()))
    with pytest.raises(StructureError, match=r"0: .* its tensor 'weight'"):
        check_apart(model, linked)


def test_plain_data_may_be_shared() -> None:
    class Settings:
        def __deepcopy__(self, memo: dict[int, Any]) -> Settings:
            return self

    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    model.settings = Settings()
    assert private_copy(model).settings is model.settings
    assert lzero.discover(model, X).size == 5
