"""The memory format of tensors that take the place of others: a network in ``channels_last`` stays in it."""

from __future__ import annotations

import torch
from torch import Tensor

# Dims from the innermost in memory to the outermost, by the number of dims.
_CHANNELS_LAST = {4: ((1, 3, 2, 0), torch.channels_last), 5: ((1, 4, 3, 2, 0), torch.channels_last_3d)}


def format_of(tensor: Tensor) -> torch.memory_format:
    """``channels_last`` (of 4 dims) or ``channels_last_3d`` (of 5) where the strides say so, else the plain format.

    The strides decide, as in PyTorch: a 1x1 kernel is contiguous in both formats, and still belongs to one.
    """
    order, channels_last = _CHANNELS_LAST.get(tensor.dim(), ((), torch.contiguous_format))
    if tensor.layout != torch.strided or (order and tensor.stride(1) == 0):
        return torch.contiguous_format
    reached = 0
    for dim in order:
        size, stride = tensor.shape[dim], tensor.stride(dim)
        if size == 0 or stride < reached or (dim == 0 and reached == tensor.stride(1)):
            return torch.contiguous_format
        reached = stride * max(size, 1)
    return channels_last


def like_format(tensor: Tensor, like: Tensor) -> Tensor:
    """``tensor`` in the memory format of ``like``, which has as many dims; itself where it is in that already."""
    wanted = format_of(like)
    if tensor.dim() != like.dim() or format_of(tensor) == wanted:
        return tensor
    return torch.empty_like(tensor, memory_format=wanted).copy_(tensor)
