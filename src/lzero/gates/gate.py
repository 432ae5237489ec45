"""Gates on a tensor: as a parametrization of a weight, or on what a layer reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lzero._torch import saving_is_hooked
from lzero.errors import SolverError, StructureError
from lzero.gates.gates import Gates
from lzero.gates.history import REDRAWN
from lzero.gates.layout import Layout


class Gate(nn.Module):
    """A parametrization that multiplies one dim of a tensor by its gates.

    Where the gates are drawn for each example, they multiply the input of the layer instead (``read``, a forward
    pre-hook), and the weight passes as it is: the same product, with another gate for every example (the local
    reparameterisation of Louizos et al., arXiv 1712.01312, section 2.3).

    Args:
        gates: where the values come from; registered as a submodule by the owner alone.
        indices: each long, [n]: the gate of each position of ``dim``, G for an ungated one; the gates that several
            have for one position multiply (a feature of a gated channel).
        dim: the dim gated; -1 for one gate an element of the flattened tensor.
        owner: register ``gates`` here; exactly one Gate of a model does.
        siblings: names of all parameters of the module that the tensor belongs to, in order.
    """

    def __init__(
        self,
        gates: Gates,
        indices: Sequence[Tensor],
        dim: int,
        owner: bool = False,
        siblings: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.siblings = siblings
        self._gates: Sequence[Gates] = (gates,)  # in a tuple, so that its state is not registered twice
        if owner:
            self.gates = gates
        self.dim = dim
        self._layouts = [Layout(index, gates.sizes) for index in indices]

    def factor(self, values: Tensor, like: Tensor) -> Tensor:
        """``values`` [G] at the positions of this tensor, 1 where ungated, shaped to broadcast against ``like``."""
        return self._shaped(self._along(self._gates[0].pieces(values.to(like))), like)

    def forward(self, weight: Tensor) -> Tensor:
        """``weight`` times its gates, of the same shape."""
        gates = self._gates[0]
        if gates.training and not torch.compiler.is_compiling():
            gates.history.saw(weight)
        if gates.by_example:
            return weight
        draw = gates.current()
        factor = self._shaped(self._along(draw.pieces(gates.log_alpha, draw.reached(gates.history))), weight)
        if torch.compiler.is_compiling():
            return weight * factor.to(weight.dtype)
        gates.drawing.check_recomputation()
        if factor.dtype is weight.dtype and not saving_is_hooked():
            return weight * factor
        return _Multiply.apply(weight, factor, draw.number)  # type: ignore[no-any-return,no-untyped-call]

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
        z = self._along(gates.current(len(x)).pieces(gates.log_alpha, gates.history.backward))  # [B, n]
        channel = x.dim() - 1 if linear else 1
        factor = z.view([len(x), *(-1 if d == channel else 1 for d in range(1, x.dim()))])
        gates.drawing.check_recomputation()
        named = {name: value for name, value in named.items() if name != "input"}
        return (x * factor.to(x.dtype), *rest), named

    def _along(self, pieces: Sequence[Tensor]) -> Tensor:
        """The factor of every position, [..., n], from the gates of every group."""
        first, *more = self._layouts
        factor = first.expand(pieces)
        for layout in more:
            factor = factor * layout.expand(pieces)
        return factor

    def _shaped(self, z: Tensor, like: Tensor) -> Tensor:
        return z.view(like.shape) if self.dim < 0 else z.view([-1 if d == self.dim else 1 for d in range(like.dim())])


class _Multiply(torch.autograd.Function):
    """weight * factor, where what the backward finds saved must come from the draw that the forward saw."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, factor: Tensor, number: Tensor) -> Tensor:
        ctx.save_for_backward(weight, factor, number)
        ctx.number = number
        return weight * factor.to(weight.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, factor, number = ctx.saved_tensors
        if number.data_ptr() != ctx.number.data_ptr():  # activation checkpointing has run the layer again
            raise SolverError(REDRAWN)
        grad_weight = grad * factor.to(grad.dtype) if ctx.needs_input_grad[0] else None
        grad_factor = None
        if ctx.needs_input_grad[1]:
            product = grad * weight
            broadcast = [d for d, size in enumerate(factor.shape) if size != product.shape[d]]
            grad_factor = product.sum(broadcast, keepdim=True, dtype=factor.dtype) if broadcast else product
            grad_factor = grad_factor.to(factor.dtype)
        return grad_weight, grad_factor, None
