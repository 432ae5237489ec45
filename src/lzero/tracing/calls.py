"""What every module of a model was called with in one forward: the inputs of a proof of that module alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lzero.host.cache import is_cache
from lzero.host.inputs import Arguments, ExampleInputs
from lzero.host.tensors import tensors_in
from lzero.tracing.label import Axes, IntArray
from lzero.tracing.size_int import plain


class Calls:
    """The inputs of every module of ``model`` that one forward calls exactly once, kept by hooks until ``remove()``.

    Floats are kept as zeros that take no memory: a proof draws them anew. What counts and chooses (integers, booleans)
    keeps its values.

    Args:
        model: a private copy.
        axes_of: labels of a tensor.

    Attributes:
        given: by path, the labels of all that each module was given.
    """

    def __init__(self, model: nn.Module, axes_of: Callable[[Tensor], Axes | None] = lambda tensor: None) -> None:
        self._inputs: dict[str, ExampleInputs] = {}
        self._axes_of, self.given = axes_of, dict[str, list[IntArray]]()
        self._count = Counter[str]()
        self._hooks = [
            module.register_forward_pre_hook(self._entering(path), with_kwargs=True)
            for path, module in model.named_modules()
        ]

    def remove(self) -> Mapping[str, ExampleInputs]:
        """By path, the inputs of the modules that were called once; the hooks are taken off."""
        for hook in self._hooks:
            hook.remove()
        return {path: inputs for path, inputs in self._inputs.items() if self._count[path] == 1}

    def _entering(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._count[path] += 1
            held = self.given.setdefault(path, [])
            for tensor in tensors_in((args, kwargs)):
                held += self._axes_of(tensor) or ()
            if self._count[path] == 1:
                given = Arguments(tuple(_plain(args)), {name: _plain(value) for name, value in kwargs.items()})
                self._inputs[path] = ExampleInputs(given).map(_form)
            else:
                self._inputs.pop(path, None)

        return hook


def _form(tensor: Tensor) -> Tensor:
    """``tensor`` without its values where they are floats."""
    if tensor.is_floating_point() and tensor.layout == torch.strided and not tensor.is_nested:
        return torch.zeros((), dtype=tensor.dtype, device=tensor.device).expand(tensor.shape)  # no op that reads it
    return tensor.detach().clone()


def _plain(value: Any) -> Any:
    """``value`` with plain numbers in place of the sizes that a trace follows, and without a cache.

    A cache is filled as the forward goes on, and a module is the same without.
    """
    if is_cache(value):
        return None
    if type(value) in (tuple, list):
        return type(value)(_plain(item) for item in value)
    return plain(value)
