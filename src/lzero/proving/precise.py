"""A forward whose casts to single precision are to double: what a comparison in float64 can then be held to."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class Precise(TorchFunctionMode):
    """A mode in which ``float32`` means ``float64``.

    Norms, softmaxes and rotations are often computed in single precision, whatever the model is in. Rounding there
    would be all that two forwards of a float64 model differ by.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What ``func`` gives with the other dtype."""
        if func is Tensor.float:
            return Tensor.double(*args, **(kwargs or {}))
        named = {name: _wide(value) for name, value in (kwargs or {}).items()}
        return func(*(_wide(value) for value in args), **named)


def _wide(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value
