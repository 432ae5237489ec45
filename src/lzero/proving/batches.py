"""The inputs of a proof: those of the user in another dtype, at random, and as larger batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lzero.host.tensors import map_tensors, tensors_in
from lzero.proving.random_weights import draw_normal

LARGER = (1, 8, 8, 64)
"""Batches to try in turn, as multiples of the example's."""

_ELEMENTS = 1 << 12  # in the largest input of a larger batch


def several(inputs: Any, times: int) -> Any:
    """``inputs`` as a batch up to ``times`` as large, where they are small and their first dims of one size."""
    tensors = list(tensors_in(inputs))
    times = min(times, _ELEMENTS // max([1, *(tensor.numel() for tensor in tensors)])) if tensors else 1
    if times < 2 or len({tensor.shape[:1] for tensor in tensors}) != 1:
        return inputs
    return map_tensors(inputs, lambda tensor: torch.cat([tensor] * times) if tensor.dim() else tensor)


def converter(dtype: torch.dtype, generator: torch.Generator | None) -> Callable[[Tensor], Tensor]:
    """A function that copies tensors: floats in ``dtype``, and drawn anew where there is a ``generator``."""

    def convert(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor.clone()
        converted = tensor.detach().to(dtype, copy=True)
        return converted if generator is None else draw_normal(converted, generator)

    return convert
