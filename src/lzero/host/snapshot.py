"""What modules hold, to be put back: an undo for changes that a failure may stop anywhere."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


class Snapshot:
    """Class, attributes and registries of ``modules``, and the values of tensors that :meth:`keep` is told of.

    Parameters, buffers and submodules stay the objects that they are: only who holds them is written down.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self._modules = [(module, type(module), _contents(vars(module))) for module in modules]
        self._values: list[tuple[Tensor, Tensor]] = []

    def keep(self, tensor: Tensor) -> None:
        """Also put the value of ``tensor`` back."""
        self._values.append((tensor, tensor.detach().clone()))

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back, to the bit."""
        for module, kind, attributes in self._modules:
            module.__class__ = kind
            now = vars(module)
            for name in now.keys() - attributes.keys():
                del now[name]
            for name, (value, inside) in attributes.items():
                now[name] = value
                if isinstance(value, dict) and value is not inside:
                    value.clear()
                    value.update(inside)
                elif isinstance(value, list):
                    value[:] = inside
                elif isinstance(value, set):
                    value.clear()
                    value.update(inside)
        for tensor, value in self._values:
            if not torch.equal(tensor, value):  # what could not be written to needs no writing back
                tensor.copy_(value)


def _contents(attributes: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Every attribute with a copy of what it holds, where it is a container that changes in place."""
    return {
        name: (value, value.copy() if isinstance(value, dict | list | set) else value)
        for name, value in attributes.items()
    }
