"""Layers whose tensors have been cut, and whether saved tensors of some shapes fit each other."""

from __future__ import annotations

import torch
from torch import nn

from lzero.errors import StructureError
from lzero.surgery.saved_layers import check_agreement


def cut(layer: nn.Module, **shapes: tuple[int, ...]) -> None:
    """Give the parameters and buffers of ``layer`` that are named other shapes, from their first entries."""
    for name, shape in shapes.items():
        small = getattr(layer, name).detach()[tuple(slice(size) for size in shape)].clone()
        assert tuple(small.shape) == shape
        table = layer._parameters if name in layer._parameters else layer._buffers
        table[name] = nn.Parameter(small) if name in layer._parameters else small  # type: ignore[assignment]


def agreements(layer: nn.Module, shapes: dict[str, tuple[int, ...]]) -> bool:
    """Whether saved tensors of these shapes could be those of ``layer`` after a purge."""
    try:
        check_agreement(layer, {name: torch.zeros(shape) for name, shape in shapes.items()})
    except StructureError:
        return False
    return True
