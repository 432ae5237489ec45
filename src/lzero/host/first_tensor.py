"""The tensor that a module works on: the first of floats among its arguments, and the first of what it returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor of floats in nested tuples, lists and mappings; None where there is none."""
    if isinstance(value, Tensor):
        return value if value.is_floating_point() else None
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        return next((found for item in value if (found := first_tensor(item)) is not None), None)
    return None


def with_first_tensor(value: Any, tensor: Tensor) -> Any:
    """``value``, a tensor or a tuple or list that begins with one, with ``tensor`` in its place.

    A named tuple, or another subclass, stays what it is where it is built from its items.
    """
    if isinstance(value, Tensor):
        return tensor
    rest = (tensor, *value[1:])
    if hasattr(value, "_fields"):
        return type(value)(*rest)
    return type(value)(rest)
