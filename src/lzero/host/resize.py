"""Tensors that become smaller and stay the same objects: whoever holds them goes on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_OTHER = {torch.float16: torch.float32}


@torch.no_grad()
def resize(tensor: Tensor, change: Callable[[Tensor], Tensor]) -> None:
    """``tensor``, a leaf, with what ``change`` makes of its values in their place, and of the gradient that it has.

    A graph that is still alive (a loss of the step before) holds on to the node that accumulates its gradient, and
    that to the shape as it was. PyTorch makes a new one where the dtype of the data has changed, not where the shape
    has: so that is changed on the way.
    """
    values, grad = tensor.data, tensor.grad
    made, made_grad = change(values), None if grad is None else change(grad)
    tensor.grad = None
    tensor.data = torch.empty(0, dtype=_OTHER.get(values.dtype, torch.float16), device=values.device)
    tensor.data = made
    tensor.grad = made_grad
