"""The positions that gates own on a dim, read from plain data."""

from __future__ import annotations

import torch
from torch import Tensor

from lzero.checks import shown
from lzero.errors import StructureError


def read_positions(place: str, index: object, size: int, length: int) -> Tensor:
    """``index``, if it is int64 [size, r] and holds distinct positions of a dim of that ``length``.

    Raises:
        StructureError: anything else; the message begins with ``place``.
    """
    strided = isinstance(index, Tensor) and index.dtype == torch.int64 and index.layout == torch.strided
    fits = strided and isinstance(index, Tensor) and not index.is_meta and index.dim() == 2
    if not isinstance(index, Tensor) or not fits or len(index) != size or not index.shape[1]:
        raise StructureError(f"{place}: expected int64 positions [{size}, at least 1], found {shown(index)}")
    if not bool(((index >= 0) & (index < length)).all()) or len(torch.unique(index)) != index.numel():
        raise StructureError(f"{place}: expected distinct positions from 0 to {length - 1}, found others")
    return index
