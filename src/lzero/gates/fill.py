"""Norms that do not see closed units: what they read there is filled with a value that leaves their statistics alone.

Of n units k are open. With the mean m and the mean square q of the open ones, and every closed position set to

    m         mean' = m, var' = (k / n) var:  norm(x', w, b, eps) = norm(x_open, w_open sqrt(n / k), b_open, eps n / k)
    0         mean square' = (k / n) q:       rms(x', w, eps) = rms(x_open, w_open sqrt(n / k), eps n / k)
    sqrt(q)   the mean square stays q:        rms(x', w, eps) = rms(x_open, w_open, eps)
    0         a sum of squares stays

on the open units, so that the purged module is an ordinary norm with a weight that is scaled and another eps, or with
neither. The third is for those whose weight does not multiply as it is (1 + w) or that have none; where such a norm
takes a mean, its result without the bias is multiplied by sqrt(k / n) instead, and purging changes eps alone. A unit
counts as open wherever z != 0, in train mode too: its scale z stands on what reads it, once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lzero.gates.draw import Draw
from lzero.gates.gates import Gates
from lzero.gates.layout import Layout
from lzero.plan.norm import Norm

Opened = Callable[[Tensor], Tensor]
"""Which positions of the dim are open, bool [n], on the device of the tensor that it is given."""


class OpenNow:
    """The positions that the current draw leaves open.

    Args:
        gates: where they are drawn.
        index: long, [n]: the gate of each position, G for an ungated one.
    """

    def __init__(self, gates: Gates, index: Tensor) -> None:
        self._gates, self._layout = (gates,), Layout(index, gates.sizes)
        self._last: tuple[Draw, Tensor] | None = None

    def __call__(self, like: Tensor) -> Tensor:
        """Bool, [n]."""
        gates = self._gates[0]
        draw = gates.current()
        if torch.compiler.is_compiling():
            return self._open(draw, like.device)
        gates.drawing.check_recomputation()
        if self._last is None or self._last[0] is not draw:
            self._last = draw, self._open(draw, like.device)
        return self._last[1].to(like.device)

    def _open(self, draw: Draw, device: torch.device) -> Tensor:
        pieces = torch.split(draw.z.detach() != 0, list(self._gates[0].sizes), -1)
        return self._layout.expand(pieces).to(device)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_last": None}


class OpenAlways:
    """The positions of ``open_``, bool [n]."""

    def __init__(self, open_: Tensor) -> None:
        self._open = open_

    def __call__(self, like: Tensor) -> Tensor:
        """Bool, [n]."""
        return self._open.to(like.device)


class Fill:
    """Hooks on a module that normalises: what it reads is filled, and what it gives is scaled.

    Args:
        norm: what is known of the module.
        opened: which units are open.
    """

    def __init__(self, norm: Norm, opened: Opened) -> None:
        self._norm, self._opened = norm, opened

    def attach(self, layer: nn.Module) -> None:
        """Put the hooks on ``layer``."""
        layer.register_forward_pre_hook(self.read, with_kwargs=True)
        if self._norm.statistic == "mean" and not self._norm.weight:
            layer.register_forward_hook(self.scale)

    def read(
        self, layer: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of the forward, with the first tensor among them filled."""
        for place, value in enumerate(inputs):
            if isinstance(value, Tensor):
                return (*inputs[:place], filled(value, self._opened(value), self._norm), *inputs[place + 1 :]), named
        name = next(name for name, value in named.items() if isinstance(value, Tensor))
        return inputs, {**named, name: filled(named[name], self._opened(named[name]), self._norm)}

    def scale(self, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        """``output`` without its bias times the root of the share that is open."""
        fine = torch.promote_types(output.dtype, torch.float32)
        factor = root_of_share(self._opened(output).to(fine), self._norm, output.dim()).to(output.dtype)
        bias = getattr(layer, self._norm.bias) if self._norm.bias else None
        if bias is None:
            return output * factor
        if bias.dim() == 1:
            bias = _along(bias, self._norm.dim, output.dim())
        return torch.lerp(bias.to(output.dtype).expand_as(output), output, factor)


def filled(x: Tensor, open_: Tensor, norm: Norm) -> Tensor:
    """``x`` with a value in the place of what is closed that leaves the statistics of ``norm`` alone.

    Args:
        x: what the module reads.
        open_: bool [n], the positions of its dim that are open.
        norm: which dim that is, and what is taken over which dims.

    Example:
        >>> norm = Norm("", -1, (-1,), 0, "mean", torch.arange(4)[:, None], 4)
        >>> filled(torch.tensor([1.0, 9.0, 3.0, 9.0]), torch.tensor([True, False, True, False]), norm)
        tensor([1., 2., 3., 2.])
    """
    if norm.statistic == "length" or (norm.statistic == "square" and norm.weight):
        return torch.where(_along(open_, norm.dim, x.dim()), x, x.new_zeros(()))
    if norm.channel_groups:
        groups = norm.channel_groups
        each = x.reshape(len(x), groups, x.shape[1] // groups, -1)
        return _with_statistic(each, open_.view(1, groups, -1, 1), (2, 3), norm).reshape(x.shape)
    return _with_statistic(x, _along(open_, norm.dim, x.dim()), norm.over, norm)


def root_of_share(open_: Tensor, norm: Norm, dims: int) -> Tensor:
    """sqrt(k / n) of the positions that share a statistic, to broadcast against a tensor with ``dims`` dims.

    ``open_`` [n] is 1 where a position is open and 0 elsewhere, in floats.
    """
    each = open_.view(max(norm.channel_groups, 1), -1)
    share = each.mean(1, keepdim=True).sqrt()
    return _along(share.expand_as(each).reshape(-1), norm.dim, dims) if norm.channel_groups else share.view(())


def _with_statistic(x: Tensor, open_: Tensor, over: tuple[int, ...], norm: Norm) -> Tensor:
    """``x`` with the mean, or the root mean square, of what is ``open_`` in the place of the rest."""
    fine = x if x.dtype in (torch.float32, torch.float64) else x.float()
    kept = torch.where(open_, fine, fine.new_zeros(()))
    count = open_.expand_as(x) if norm.channel_groups or len(over) > 1 else open_
    number = count.sum(over, keepdim=True).clamp_min(1)
    if norm.statistic == "mean":
        value = kept.sum(over, keepdim=True) / number
    else:
        mean_square = kept.square().sum(over, keepdim=True) / number
        value = mean_square.clamp_min(torch.finfo(fine.dtype).tiny).sqrt()
    return torch.where(open_, x, value.to(x.dtype))


def _along(vector: Tensor, dim: int, dims: int) -> Tensor:
    """``vector`` [n] shaped to broadcast along ``dim`` of a tensor with ``dims`` dims."""
    return vector.view([-1 if d == dim % dims else 1 for d in range(dims)])
