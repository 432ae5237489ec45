"""How much of a model its gates can remove."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from lzero.plan.group import GateGroup


def reach(groups: Iterable[GateGroup], shapes: Mapping[str, Sequence[int]]) -> int:
    """Parameters, of those with ``shapes``, that at least one gate of ``groups`` can remove; buffers cost nothing."""
    owned: dict[str, dict[int, list[Tensor]]] = {}
    for group in groups:
        for member in group.members:
            if member.tensor in shapes:
                owned.setdefault(member.tensor, {}).setdefault(member.dim, []).append(member.index.flatten())
    return sum(_owned_elements(shapes[name], dims) for name, dims in owned.items())


def _owned_elements(shape: Sequence[int], dims: Mapping[int, list[Tensor]]) -> int:
    """Elements of a tensor of ``shape`` on a position that is owned on some dim."""
    if -1 in dims:
        return math.prod(shape)
    free = [size - len(torch.unique(torch.cat(dims[d]))) if d in dims else size for d, size in enumerate(shape)]
    return math.prod(shape) - math.prod(free)
