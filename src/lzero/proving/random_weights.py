"""Random weights for a proof: no initial or trained value survives that could hide a dependence."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lzero.host.tensors import draw_normal


@torch.no_grad()
def randomise(model: nn.Module, generator: torch.Generator) -> None:
    """Redraw every float parameter and buffer of ``model`` in place.

    Matrices and kernels are normal with variance 2 / fan-in, so that signals neither die nor explode. Vectors, scalars
    and buffers are normal, or uniform in (0.5, 1.5) where they were nowhere negative (a running variance, a scale).
    Buffers with infinities (attention masks) keep their values.
    """
    for parameter in model.parameters():
        if parameter.is_floating_point():
            if parameter.dim() > 1:
                _fill_matrix(parameter, generator)
            else:
                parameter.copy_(_vector(parameter, generator))
    for buffer in model.buffers():
        if buffer.is_floating_point() and bool(buffer.isfinite().all()) and buffer.is_contiguous():
            buffer.copy_(_vector(buffer, generator))


@torch.no_grad()
def cast(model: nn.Module, dtype: torch.dtype) -> None:
    """Give ``model``, whose matrices are to be drawn anew, another float dtype in place; their values are lost."""
    for parameter in model.parameters():
        wanted = parameter.is_floating_point() and parameter.dtype is not dtype
        if wanted and parameter.dim() > 1 and parameter.layout == torch.strided:
            parameter.data = torch.empty_like(parameter, dtype=dtype)
    model.to(dtype)


@contextmanager
def dtypes_kept(model: nn.Module) -> Iterator[None]:
    """A context for a forward of ``model``, which may cast layers of its own (a router to float32).

    The parameters get back the values that they had, which others share.
    """
    before = [(parameter, parameter.data) for parameter in model.parameters()]
    try:
        yield
    finally:
        for parameter, values in before:
            if parameter.dtype is not values.dtype:
                parameter.data = values


def _fill_matrix(tensor: Tensor, generator: torch.Generator) -> None:
    fan_in = max(1, tensor.numel() // max(1, tensor.shape[0]))
    spread = math.sqrt(2 / fan_in)
    if tensor.dtype is torch.float32 and tensor.device == generator.device and tensor.is_contiguous():
        tensor.normal_(0, spread, generator=generator)  # the same numbers, without a second tensor
    else:
        tensor.copy_(torch.randn(tensor.shape, generator=generator)).mul_(spread)


def _vector(tensor: Tensor, generator: torch.Generator) -> Tensor:
    if bool((tensor >= 0).all()) and bool((tensor > 0).any()):
        return torch.rand(tensor.shape, generator=generator).to(tensor) + 0.5
    return draw_normal(tensor, generator) / 2
