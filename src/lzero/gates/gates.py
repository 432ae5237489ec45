"""All gates of a model: one flat parameter, one draw a forward, groups as slices of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lzero.errors import StructureError
from lzero.gates.estimator import Estimator
from lzero.gates.hard_concrete import HardConcrete


class Gates(nn.Module):
    """The random gates of one model, as one flat ``log_alpha`` [G] with a named slice for each group.

    A pre-hook on the model draws the noise once a forward; every gated tensor of that forward, and of its backward,
    sees the same draw. In eval mode the gates are the median gates: 0 exactly where P(z != 0) <= 1/2. So that no layer
    dies, the likeliest gate of a group counts as open even below 1/2, at its mean.

    Args:
        sizes: group name -> number of gates, in order.
        owners: long, [G]: for a gate that is only alive where another one is open (a feature of a gated channel),
            the index of that other gate; -1 elsewhere. Owners' groups come before those of the gates they own.
        estimator: the distribution of one gate.
    """

    log_alpha: nn.Parameter  # [G]
    group_of: Tensor  # long, [G]
    owners: Tensor  # long, [G]
    plan: Any  # the structure.Plan that the gates were attached by
    rescaled: bool  # whether gated weights were divided by E[z]
    budgets: Sequence[Any]  # the constraints.Budget list of the Solver that was last built on these gates

    def __init__(self, sizes: Mapping[str, int], owners: Tensor | None = None, estimator: Estimator | None = None):
        super().__init__()
        if not sizes or min(sizes.values()) < 1:
            raise StructureError(f"Gates: expected at least one group of at least one gate, found {dict(sizes)}")
        self.estimator = estimator or HardConcrete()
        self.slices: dict[str, slice] = {}
        start = 0
        for name, size in sizes.items():
            self.slices[name] = slice(start, start + size)
            start += size
        group_of = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(list(sizes.values())))
        self.register_buffer("group_of", group_of, persistent=False)
        self.register_buffer("owners", torch.full((start,), -1) if owners is None else owners, persistent=False)
        coordinates = self.estimator.coordinates
        self.log_alpha = nn.Parameter(torch.zeros((coordinates, start) if coordinates > 1 else start))
        self._owned = owners is not None and bool((owners >= 0).any())
        self.plan, self.budgets, self.rescaled = None, (), False
        self._held: tuple[Tensor, Tensor] | None = None
        self._held_key: tuple[bool, int] = (False, -1)
        self._fixed: tuple[Tensor, Tensor] | None = None

    def __len__(self) -> int:
        return self.log_alpha.shape[-1]

    def __getitem__(self, name: str) -> Tensor:
        """The slice of ``log_alpha`` that belongs to group ``name``, [k] or [C, k]."""
        return self.log_alpha[..., self.slices[name]]

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """``flat`` [G] as group name -> [k]."""
        return {name: flat[where] for name, where in self.slices.items()}

    def probability(self) -> Tensor:
        """P(z != 0) of every gate, [G], differentiable."""
        return self.estimator.probability(self.log_alpha)

    @torch.no_grad()
    def probability_slope(self) -> Tensor:
        """dP(z != 0) / d log_alpha of every gate, [G], without a graph."""
        return self.estimator.probability_slope(self.log_alpha)

    @torch.no_grad()
    def means(self) -> Tensor:
        """E[z] of every gate, [G], without a graph."""
        return self.estimator.mean(self.log_alpha)

    @torch.no_grad()
    def open_mask(self) -> Tensor:
        """The gates that are deployed, bool [G]: P(z != 0) > 1/2 and an open owner, and at least one a group."""
        return self.alive(self.with_floor(self.probability() > 0.5))

    def alive(self, open_: Tensor) -> Tensor:
        """``open_`` [G] without the gates whose owner is closed."""
        return open_ & ((self.owners < 0) | open_[self.owners]) if self._owned else open_

    @torch.no_grad()
    def with_floor(self, open_: Tensor) -> Tensor:
        """``open_`` [G] with the likeliest gate opened in every group that has none alive."""
        empty = self._empty_groups(open_)
        if not empty.any():
            return open_
        open_ = open_.clone()
        score = self.log_alpha.detach()
        for position in range(len(self.slices)):  # in order: owners first
            if self._empty_groups(open_)[position]:
                inside = (self.group_of == position).nonzero().squeeze(1)
                alive = (self.owners[inside] < 0) | open_[self.owners[inside]]
                inside = inside[alive] if alive.any() else inside
                open_[inside[score[inside].argmax()]] = True
        return open_

    def floor(self) -> Tensor:
        """The smallest deployable set, bool [G]: the likeliest gate of every group alone."""
        return self.with_floor(torch.zeros_like(self.log_alpha, dtype=torch.bool))

    def _empty_groups(self, open_: Tensor) -> Tensor:
        counts = torch.zeros(len(self.slices), dtype=torch.long, device=open_.device)
        return counts.index_add_(0, self.group_of, self.alive(open_).long()) == 0

    @torch.no_grad()
    def evaluate(self, open_: Tensor) -> Tensor:
        """Evaluation gates z, [G], for a deployed set: 0 where closed, else the median gate, or E[z] where that is 0.

        The mean stands in where a gate is open against its median (settling, the last gate of a group): it is what
        the network has seen of that gate in training, on average.
        """
        z = self.estimator.median(self.log_alpha)
        revived = open_ & (z == 0)
        if revived.any():
            z = torch.where(revived, self.estimator.mean(self.log_alpha), z)
        return z * open_

    def draw(self, model: nn.Module | None = None, *_: Any) -> None:
        """Gates for the next forward: a new draw in training mode, the evaluation gates in eval mode.

        As a pre-hook it follows the mode of ``model``, whichever of its layers the user has frozen.
        """
        if model is not None:
            self.training = model.training
        if self._fixed is not None:
            return
        with torch.inference_mode(False), torch.no_grad():  # what is held must serve a later forward with gradients
            if self.training:
                z, slope = self.estimator.sample(self.log_alpha, self.estimator.noise(self.log_alpha))
            else:
                open_ = self.open_mask()
                z = self.evaluate(open_)
                slope = self.estimator.sample(self.log_alpha, torch.zeros_like(z))[1] * open_
            self._held = _with_ungated(z, slope)
        self._held_key = (self.training, self.log_alpha._version)

    def values(self) -> tuple[Tensor, Tensor]:
        """Gates of the current forward and their slopes, each [G + 1]; the last entry (1, 0) serves ungated positions.

        A draw that is older than log_alpha is renewed, for models that are called by another method than their forward.
        """
        if self._fixed is not None:
            return self._fixed
        fresh = self._held is not None and self._held[0].device == self.log_alpha.device
        if not fresh or self._held_key != (self.training, self.log_alpha._version):
            self.draw()
        if self._held is None:
            raise StructureError("Gates: no draw is held; run the model's forward before reading gated weights")
        return self._held

    @contextmanager
    def fixed(self, z: Tensor) -> Iterator[None]:
        """Within the context every forward uses the gates ``z`` [G]; afterwards all is as before."""
        before = self._fixed
        self._fixed = _with_ungated(z.detach().to(self.log_alpha), torch.zeros_like(self.log_alpha))
        try:
            yield
        finally:
            self._fixed = before

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Gates:
        """Move or cast as any module, but keep ``log_alpha`` in at least single precision."""
        exact = self.log_alpha.detach()
        grad = None if self.log_alpha.grad is None else self.log_alpha.grad.detach()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.log_alpha.dtype in (torch.bfloat16, torch.float16):
            device, self.log_alpha.grad = self.log_alpha.device, None
            self.log_alpha.data = exact.to(device)
            self.log_alpha.grad = None if grad is None else grad.to(device)
        return self

    def extra_repr(self) -> str:
        """Groups with their sizes, for ``print(model)``."""
        return ", ".join(f"{name}: {s.stop - s.start}" for name, s in self.slices.items())


def _with_ungated(z: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    return torch.cat([z, z.new_ones(1)]), torch.cat([slope, slope.new_zeros(1)])


class Gate(nn.Module):
    """A parametrization that multiplies one dim of a tensor by its gates.

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
        z, slope = gates.values()
        return _Multiply.apply(weight, gates.log_alpha, z, slope, self.index, self.dim)  # type: ignore[no-any-return,no-untyped-call]


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
            flat = torch.zeros_like(slope)
            grad_gates = flat.index_add_(0, index, per_position.to(slope.dtype) * slope[index])[:-1]
        return grad_weight, grad_gates, None, None, None, None
