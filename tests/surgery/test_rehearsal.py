"""Modules whose copies are not what they are once they are gated: found before the training, or copied right."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from odd_copies import REFUSED, Compiled, PassesOn, gated, model_with
from plans import same, snapshot
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lzero.errors import StructureError
from lzero.host.copies import deep_copy, private_copy
from lzero.host.run import run
from lzero.surgery.rehearsal import rehearse

X = torch.randn(4, 5)


class Scaled(nn.Module):
    """A gate of constant value."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight * 0.5


def gated_twin(model: nn.Module) -> nn.Module:
    """What attaching makes to try things on: a private copy with gates."""
    twin = private_copy(model)
    for module in list(twin.modules()):
        if isinstance(module, nn.Linear):
            parametrize.register_parametrization(module, "weight", Scaled())
    return twin


def without_gates(model: nn.Module) -> nn.Module:
    plain = deep_copy(model)
    for module in filter(gated, list(plain.modules())):
        shared = type(module)  # copies share it, and removing a parametrization changes it
        attributes = {name: value for name, value in vars(shared).items() if name not in ("__dict__", "__weakref__")}
        module.__class__ = type(shared.__name__, shared.__bases__, attributes)
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
    return plain


@pytest.mark.parametrize(("kind", "message"), REFUSED)
def test_what_could_not_be_purged_is_refused_and_nothing_changed(kind: Any, message: str) -> None:
    model = model_with(kind)
    with torch.no_grad():
        model[2].inner.weight.add_(1.0)
    twin = gated_twin(model)
    before, gated_before = snapshot(model), snapshot(twin)
    with pytest.raises(StructureError, match=message):
        rehearse(twin, model, without_gates)
    same(before, snapshot(model))
    same(gated_before, snapshot(twin))


def test_a_copy_that_still_shares_with_the_twin_is_refused() -> None:
    model = model_with(nn.Sequential)
    twin = gated_twin(model)

    def shallow(twin: nn.Module) -> nn.Module:
        plain = without_gates(twin)
        plain[4].bias = twin[4].bias
        return plain

    with pytest.raises(StructureError, match=r"^4: .* its tensor 'bias'"):
        rehearse(twin, model, shallow)


@pytest.mark.parametrize("kind", [nn.Sequential, PassesOn, Compiled], ids=["plain", "passes on", "compiled"])
def test_what_can_be_purged_passes_and_keeps_its_gates(kind: Any) -> None:
    model = model_with(kind)
    twin = gated_twin(model)
    before = snapshot(twin)
    rehearse(twin, model, without_gates)
    same(before, snapshot(twin))
    with torch.no_grad():
        model[0].bias[0] = torch.nan
    rehearse(gated_twin(model), model, without_gates)


def test_a_module_that_passes_attributes_on_is_copied_as_itself_once_gated() -> None:
    model = model_with(PassesOn)
    twin = gated_twin(model)
    copied = deep_copy(twin)
    assert [type(module) for module in copied.modules()] == [type(module) for module in twin.modules()]
    assert type(copied[2]) is PassesOn and set(copied[2]._modules) == {"original_module", "saved"}
    assert copied[2].saved["default"] is not twin[2].saved["default"]
    assert torch.equal(run(copied, X)[0], run(twin, X)[0])
    torch.nn.init.zeros_(copied[2].saved["default"].parametrizations.weight.original)
    assert not torch.equal(run(copied, X)[0], run(twin, X)[0])


@pytest.mark.parametrize("compiled", [lambda m: m.compile(backend="eager"), lambda m: None], ids=["compiled", "eager"])
def test_a_layer_that_was_compiled_in_place_is_copied_with_its_own_weights(compiled: Any) -> None:
    model = model_with(nn.Sequential)
    compiled(model[4])
    twin = gated_twin(model)
    copied = deep_copy(twin)
    with torch.no_grad():
        copied[4].parametrizations.weight.original.zero_()
        copied[4].bias.zero_()
    assert not run(copied, X)[0].any() and run(twin, X)[0].any()
