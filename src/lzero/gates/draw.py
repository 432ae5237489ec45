"""One draw of all gates: what every gated tensor of a forward, and of its backward, sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lzero.errors import SolverError
from lzero.gates.history import History


class Draw:
    """Gates of one forward, with one autograd node for all of them, whatever the number of gated tensors.

    Args:
        z: gates, [G], or [B, G] for each example.
        slope: dz / dlog_alpha, shaped as z, with a leading C where a gate has C parameters; None where gates are data.
        sizes: gates of every group, in order.
        noise: what z was sampled from, for estimators that score the loss.

    Attributes:
        key: mode and version of the parameters that it was drawn for.
    """

    def __init__(self, z: Tensor, slope: Tensor | None, sizes: Sequence[int], noise: Tensor | None = None) -> None:
        self.z, self.slope, self.noise = z, slope, noise
        self.key: tuple[bool, int] = (False, -1)
        self._number: Tensor | None = None
        self._sizes = list(sizes)
        self._pieces: tuple[Tensor, ...] | None = None
        self._linked = False

    @property
    def examples(self) -> int | None:
        """How many examples have gates of their own; None where all share them."""
        return len(self.z) if self.z.dim() > 1 else None

    @property
    def number(self) -> Tensor:
        """int64 [1], a tensor of this draw alone: what a backward saved tells by it which draw it saw."""
        if self._number is None:
            self._number = torch.empty(1, dtype=torch.long)
        return self._number

    def reached(self, history: History) -> Callable[[], None]:
        """What a backward that comes to these gates is noted by."""
        return history.backward if self.key[0] else history.undrawn_backward

    def pieces(self, log_alpha: Tensor, reached: Callable[[], None]) -> tuple[Tensor, ...]:
        """The gates of every group, [..., k] each, joined to ``log_alpha`` where gradients are on.

        ``reached`` is called whenever a backward passes through the node; compiled graphs leave that out.
        """
        link = self.slope is not None and log_alpha.requires_grad and torch.is_grad_enabled()
        pieces, z, sizes = self._pieces, self.z, self._sizes
        if pieces is None or (link and not self._linked):
            if link and not torch.compiler.is_compiling():
                pieces = _Sample.apply(log_alpha, z, self.slope, sizes, reached)  # type: ignore[no-untyped-call]
            else:
                pieces = torch.split(z + _tangent(log_alpha, self.slope) if link else z, sizes, -1)
            self._pieces, self._linked = pieces, link
        return pieces


def _tangent(log_alpha: Tensor, slope: Tensor | None) -> Tensor:
    """Zeros with the gradient ``slope``: plain ops, which every compiler can trace."""
    if slope is None:
        return torch.zeros_like(log_alpha)
    coordinates = log_alpha - log_alpha.detach()  # [G] or [C, G]
    if coordinates.dim() == 1:
        return coordinates * slope
    return (coordinates.view(len(coordinates), *[1] * (slope.dim() - 2), -1) * slope).sum(0)


class _Sample(torch.autograd.Function):
    """z, a piece a group, with its closed-form slope.

    Several backwards may pass, as under reentrant activation checkpointing.
    """

    @staticmethod
    def forward(
        ctx: Any, log_alpha: Tensor, z: Tensor, slope: Tensor, sizes: list[int], reached: Callable[[], None]
    ) -> tuple[Tensor, ...]:
        # no saved tensors, which the first backward would free
        ctx.log_alpha, ctx.slope, ctx.reached = log_alpha, slope, reached
        return torch.split(z, sizes, -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        ctx.reached()
        slope, again = ctx.slope, torch.is_grad_enabled()  # again: create_graph=True
        grad = torch.cat(grads, -1).to(slope.dtype)
        gradient = grad * slope if again or grad.shape != slope.shape else grad.mul_(slope)
        if grad.dim() > 1:
            gradient = gradient.sum(-2)
        if again:
            gradient = _Last.apply(gradient, ctx.log_alpha)  # type: ignore[no-untyped-call]
        return gradient, None, None, None, None


class _Last(torch.autograd.Function):
    """A gradient of the gates that has no gradient of its own: what it lacks is d slope / d log_alpha."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, log_alpha: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        raise SolverError(
            "gates have no second derivative: leave gates.log_alpha out of what is differentiated twice (gradients of "
            "weights and inputs may be)"
        )
