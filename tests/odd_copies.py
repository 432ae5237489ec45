"""Modules whose copies are not what they are once they are gated, and such as need care to be copied right."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


class PassesOn(nn.Module):
    """Like ``ModulesToSaveWrapper`` of peft: what it lacks is looked for on the layer in it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.original_module, self.saved = inner, nn.ModuleDict({"default": copy.deepcopy(inner)})

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if "_modules" not in vars(self):
                raise
            return getattr(self._modules["saved"]["default"], name)  # type: ignore[index]

    def forward(self, x: Tensor) -> Tensor:
        return self.saved["default"](x)  # type: ignore[no-any-return]


class Forgets(nn.Module):
    """Its copies have lost a buffer once the layer is gated."""

    def __init__(self, inner: nn.Linear) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("scale", torch.ones(()))

    def __deepcopy__(self, memo: dict[int, Any]) -> nn.Module:
        made: Any = type(self)(copy.deepcopy(self.inner, memo))
        return self.spoilt(made) if gated(self.inner) else made

    def spoilt(self, made: Any) -> nn.Module:
        del made.scale
        return made  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)  # type: ignore[no-any-return]


class Remembers(Forgets):
    """They have weights of their own instead."""

    def spoilt(self, made: Any) -> nn.Module:
        nn.init.ones_(made.inner.parametrizations.weight.original)
        return made  # type: ignore[no-any-return]


class Doubles(Forgets):
    """They have another bias."""

    def spoilt(self, made: Any) -> nn.Module:
        made.inner.bias.data.mul_(2)
        return made  # type: ignore[no-any-return]


class Becomes(Forgets):
    """They are what is in it."""

    def spoilt(self, made: Any) -> nn.Module:
        return made.inner  # type: ignore[no-any-return]


class Fails(Forgets):
    """There are none."""

    def spoilt(self, made: Any) -> nn.Module:
        raise TypeError("not like this")


def Compiled(inner: nn.Module) -> Any:
    return torch.compile(inner, backend="eager")


def model_with(wrap: Any) -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), wrap(nn.Linear(8, 8)), nn.ReLU(), nn.Linear(8, 2))


def gated(module: nn.Module) -> bool:
    return isinstance(module._modules.get("parametrizations"), nn.ModuleDict)


REFUSED = [
    (Remembers, r"^2\.inner: has another 2\.inner\.weight in a copy of the gated model"),
    (Doubles, r"^2\.inner: has another 2\.inner\.bias in a copy of the gated model"),
    (Forgets, r"^2: lacks 2\.scale in a copy of the gated model.*Forgets\.__deepcopy__.*ignore="),
    (Becomes, r"^2: is a Linear in a copy of the gated model, a Becomes in the model"),
    (Fails, r"^Sequential: cannot be copied once it is gated .*not like this"),
]
