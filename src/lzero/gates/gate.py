"""Gates on a tensor: as a parametrization of a weight, or on what a layer reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lzero.errors import StructureError
from lzero.gates.gates import Gates


class Gate(nn.Module):
    """A parametrization that multiplies one dim of a tensor by its gates.

    Where the gates are drawn for each example, they multiply the input of the layer instead (``read``, a forward
    pre-hook), and the weight passes as it is: the same product, with another gate for every example (the local
    reparameterisation of Louizos et al., arXiv 1712.01312, section 2.3).

    Args:
        gates: where the values come from; registered as a submodule by the owner alone.
        index: long, [n]: the gate of each position of ``dim``, G for an ungated one.
        dim: the dim gated; -1 for one gate an element of the flattened tensor.
        owner: register ``gates`` here; exactly one Gate of a model does.
    """

    index: Tensor

    def __init__(self, gates: Gates, index: Tensor, dim: int, owner: bool = False) -> None:
        super().__init__()
        self._gates: Sequence[Gates] = (gates,)  # in a tuple, so that its parameter is not registered twice
        if owner:
            self.gates = gates
        self.dim = dim
        self.register_buffer("index", index.to(gates.log_alpha.device), persistent=False)

    def factor(self, values: Tensor, like: Tensor) -> Tensor:
        """``values`` [G] at the positions of this tensor, 1 where ungated, shaped to broadcast against ``like``."""
        table = torch.cat([values, values.new_ones(1)]).to(like)
        at = table[self.index.to(like.device)]
        return at.view_as(like) if self.dim < 0 else at.view([-1 if d == self.dim else 1 for d in range(like.dim())])

    def forward(self, weight: Tensor) -> Tensor:
        """``weight`` times its gates, of the same shape."""
        gates = self._gates[0]
        if gates.by_example:
            return weight
        z, slope = gates.values()
        return _Multiply.apply(weight, gates.log_alpha, z, slope, self.index, self.dim)  # type: ignore[no-any-return,no-untyped-call]

    def read(
        self, layer: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """The arguments of a Linear [B, ..., n] or a convolution [B, n, ...], its input times each example's gates.

        Raises:
            StructureError: an input without a dim for the examples.
        """
        gates = self._gates[0]
        if not gates.by_example:
            return None
        x, *rest = inputs or (named["input"],)
        linear = isinstance(layer, nn.Linear)
        if x.dim() < (2 if linear else layer.weight.dim()):  # type: ignore[operator]
            raise StructureError(
                f"{type(layer).__name__.removeprefix('Parametrized')}: gates for each example need a batch, found an "
                f"input {tuple(x.shape)}; attach gates with per_example=False"
            )
        z, slope = gates.values(len(x))
        channel = x.dim() - 1 if linear else 1
        gated = _MultiplyExamples.apply(x, gates.log_alpha, z, slope, self.index, channel)  # type: ignore[no-untyped-call]
        return (gated, *rest), {name: value for name, value in named.items() if name != "input"}


class _Multiply(torch.autograd.Function):
    """weight * z along a dim, with the gates' closed-form gradient; z is data, so recomputation sees the same draw."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, log_alpha: Tensor, z: Tensor, slope: Tensor, index: Tensor, dim: int
    ) -> Tensor:
        factor = z[index].to(weight.dtype)
        factor = (
            factor.view_as(weight) if dim < 0 else factor.view([-1 if d == dim else 1 for d in range(weight.dim())])
        )
        ctx.save_for_backward(weight, factor, slope, index)
        ctx.dim = dim
        return weight * factor

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, factor, slope, index = ctx.saved_tensors
        grad_weight = grad * factor if ctx.needs_input_grad[0] else None
        grad_gates = None
        if ctx.needs_input_grad[1]:
            product = grad * weight
            others = [d for d in range(weight.dim()) if d != ctx.dim]
            per_position = product.flatten() if ctx.dim < 0 else product
            if ctx.dim >= 0 and others:
                per_position = product.sum(others, dtype=slope.dtype)
            flat = slope.new_zeros(slope.shape[-1])
            grad_gates = (flat.index_add_(0, index, per_position.to(slope.dtype)) * slope)[..., :-1]
        return grad_weight, grad_gates, None, None, None, None


class _MultiplyExamples(torch.autograd.Function):
    """x * z along the channels, with gates [B, G + 1] for each example, and their closed-form gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, log_alpha: Tensor, z: Tensor, slope: Tensor, index: Tensor, channel: int
    ) -> Tensor:
        factor = z[:, index].to(x.dtype)  # [B, n]
        factor = factor.view([len(x), *(-1 if d == channel else 1 for d in range(1, x.dim()))])
        ctx.save_for_backward(x, factor, slope, index)
        ctx.channel = channel
        return x * factor

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, factor, slope, index = ctx.saved_tensors
        grad_x = grad * factor if ctx.needs_input_grad[0] else None
        grad_gates = None
        if ctx.needs_input_grad[1]:
            product = grad * x
            others = [d for d in range(1, x.dim()) if d != ctx.channel]
            per_position = product.sum(others, dtype=slope.dtype) if others else product.to(slope.dtype)  # [B, n]
            flat = slope.new_zeros(len(x), slope.shape[-1])
            grad_gates = (flat.index_add_(1, index, per_position) * slope).sum(-2)[..., :-1]
        return grad_x, grad_gates, None, None, None, None
