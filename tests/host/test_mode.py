"""Models whose train() and eval() do what they want: nothing is chained on them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import lzero
from lzero.errors import StructureError
from lzero.host.copies import private_copy
from lzero.host.mode import freeze, set_mode
from lzero.host.run import run


class Frozen(nn.Sequential):
    """The usual wrapper that keeps its batch norms in eval mode, and returns nothing from anything."""

    def train(self, mode: bool = True) -> None:  # type: ignore[override]
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.training = False

    def eval(self) -> None:  # type: ignore[override]
        self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> None:  # type: ignore[override]
        super().requires_grad_(requires_grad)


def frozen() -> Frozen:
    return Frozen(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))


X = torch.randn(6, 5)


def test_a_model_that_returns_nothing_is_discovered_gated_and_purged() -> None:
    model = frozen()
    model.train()
    assert not private_copy(model).training
    gates = lzero.attach_gates(model, X)
    assert len(gates) == 8 and model.training and not model[1].training
    with torch.no_grad():
        gates.log_alpha[::3] = -9.0
    small = lzero.purge(model).model
    torch.testing.assert_close(run(small, X), run(model, X))


def test_modes_are_set_and_parameters_frozen() -> None:
    model = frozen()
    set_mode(model, training=False)
    assert not any(module.training for module in model.modules())
    set_mode(model, training=True)
    assert model[3].training and not model[1].training
    freeze(model)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_method_of_that_name_that_trains_is_an_error_with_the_way_out() -> None:
    class Trains(nn.Linear):
        def eval(self, loader: Any) -> float:  # type: ignore[override]
            return 0.0

    with pytest.raises(StructureError, match=r"Trains\.eval\(\) raised TypeError.*give a method .* another name"):
        lzero.discover(Trains(5, 2), X)
