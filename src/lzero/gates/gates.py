"""All gates of a model: one flat parameter, one draw a forward, groups as slices of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn

from lzero.errors import StructureError
from lzero.gates.estimator import Estimator
from lzero.gates.hard_concrete import HardConcrete


class Gates(nn.Module):
    """The random gates of one model, as one flat ``log_alpha`` with a named slice for each group.

    ``log_alpha`` is [G], or [C, G] where the estimator has C parameters a gate.

    A pre-hook on the model draws the noise once a forward; every gated tensor of that forward, and of its backward,
    sees the same draw. In eval mode the gates are the median gates: 0 exactly where P(z != 0) <= 1/2. So that no layer
    dies, the likeliest gate of a group counts as open even below 1/2, at its mean.

    Args:
        sizes: group name -> number of gates, in order.
        owners: long, [G]: for a gate that is only alive where another one is open (a feature of a gated channel),
            the index of that other gate; -1 elsewhere. Owners' groups come before those of the gates they own.
        estimator: the distribution of one gate.
        per_example: draw every gate anew for each example of a batch; gated inputs are then multiplied, not weights.
    """

    log_alpha: nn.Parameter  # [G] or [C, G]
    group_of: Tensor  # long, [G]
    owners: Tensor  # long, [G]
    plan: Any  # the structure.Plan that the gates were attached by
    rescaled: bool  # whether gated weights were divided by E[z]
    scored: bool  # whether score() has been called since the last step of a seam
    budgets: Sequence[Any]  # the constraints.Budget list of the Solver that was last built on these gates

    def __init__(
        self,
        sizes: Mapping[str, int],
        owners: Tensor | None = None,
        estimator: Estimator | None = None,
        per_example: bool = False,
    ) -> None:
        super().__init__()
        if not sizes or min(sizes.values()) < 1:
            raise StructureError(f"Gates: expected at least one group of at least one gate, found {dict(sizes)}")
        self.estimator = estimator or HardConcrete()
        if per_example and self.estimator.losses:
            raise StructureError(
                f"per_example: {type(self.estimator).__name__} gates share one draw, which their score belongs to; "
                "leave per_example out, or choose another estimator"
            )
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
        self.per_example = per_example
        self.scored = False
        self._noise: Tensor | None = None
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
        """dP(z != 0) / d log_alpha of every gate, shaped as ``log_alpha``, without a graph."""
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
        score = self.probability()
        for position in range(len(self.slices)):  # in order: owners first
            if self._empty_groups(open_)[position]:
                inside = (self.group_of == position).nonzero().squeeze(1)
                alive = (self.owners[inside] < 0) | open_[self.owners[inside]]
                inside = inside[alive] if alive.any() else inside
                open_[inside[score[inside].argmax()]] = True
        return open_

    def floor(self) -> Tensor:
        """The smallest deployable set, bool [G]: the likeliest gate of every group alone."""
        return self.with_floor(torch.zeros(len(self), dtype=torch.bool, device=self.log_alpha.device))

    def _empty_groups(self, open_: Tensor) -> Tensor:
        counts = torch.zeros(len(self.slices), dtype=torch.long, device=open_.device)
        return counts.index_add_(0, self.group_of, self.alive(open_).long()) == 0

    @torch.no_grad()
    def evaluate(self, open_: Tensor) -> Tensor:
        """Evaluation gates z, [G], for a deployed set: 0 where closed, else the estimator's, or E[z] where that is 0.

        The mean stands in where a gate is open against its median (settling, the last gate of a group): it is what
        the network has seen of that gate in training, on average.
        """
        z = self.estimator.evaluation(self.log_alpha)[0]
        revived = open_ & (z == 0)
        if revived.any():
            z = torch.where(revived, self.estimator.mean(self.log_alpha), z)
        return z * open_

    def draw(self, model: nn.Module | None = None, *_: Any) -> None:
        """Gates for the next forward: a new draw in training mode, the evaluation gates in eval mode.

        As a pre-hook it follows the mode of ``model``, whichever of its layers the user has frozen. Draws for each
        example wait for the first gated layer, which knows how many examples there are.
        """
        if model is not None:
            self.training = model.training
        if self._fixed is not None:
            return
        self._held = self._noise = None
        if not self.by_example:
            self._hold(None)

    def _hold(self, examples: int | None) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(False), torch.no_grad():  # what is held must serve a later forward with gradients
            like = self.group_of if examples is None else self.group_of.expand(examples, -1)
            if self.training:
                self._noise = self.estimator.noise(like.to(self.log_alpha.dtype))
                z, slope = self.estimator.sample(self.log_alpha, self._noise)
            else:
                open_ = self.open_mask()
                z = self.evaluate(open_)
                slope = self.estimator.evaluation(self.log_alpha)[1] * open_
            held = _with_ungated(z, slope)
        self._held, self._held_key = held, (self.training, self.log_alpha._version)
        return held

    @property
    def by_example(self) -> bool:
        """Whether the current forward has gates for each example, which multiply inputs instead of weights."""
        if self._fixed is not None:
            return self._fixed[0].dim() > 1
        return self.per_example and self.training

    # Its key has log_alpha's version, another number every step, for which torch.compile would compile it anew.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def values(self, examples: int | None = None) -> tuple[Tensor, Tensor]:
        """Gates of the current forward, [G + 1], and their slopes; the last entry (1, 0) serves ungated positions.

        With a number of ``examples`` B the gates are [B, G + 1]. The model's forward draws; where its layers are called
        by another method, the last draw holds until log_alpha has changed or the model is in another mode.

        Raises:
            StructureError: a gated layer sees another number of examples than the draw was made for.
        """
        key, held = (self.training, self.log_alpha._version), self._held
        if self._fixed is not None:
            held = self._fixed
        elif held is None or held[0].device != self.log_alpha.device or self._held_key != key:
            held = self._hold(examples)
        if examples is not None and len(held[0]) != examples:
            raise StructureError(
                f"Gates: a gated layer reads {examples} examples, the last draw has gates for {len(held[0])}: the "
                "batch must be the first dim of the model's inputs and of what every gated layer reads, and only the "
                "model's forward draws for another batch; attach gates with per_example=False, or pass the layer to "
                "ignore="
            )
        return held

    @contextmanager
    def opposite(self) -> Iterator[None]:
        """Within the context every forward uses the gates of the opposite noise of the forward before.

        Raises:
            StructureError: nothing was drawn yet, or the last forward was in eval mode.
        """
        if self._noise is None or not self.training:
            raise StructureError("Gates: no draw to take the opposite of; run the model's forward in train mode first")
        with torch.no_grad():
            z, _ = self.estimator.sample(self.log_alpha, self.estimator.opposite(self._noise))
        with self.fixed(z):
            yield

    @torch.no_grad()
    def score(self, loss: Tensor | float | None = None, closure: Callable[[], Tensor | float] | None = None) -> None:
        """Add the score-function gradient of the last forward to ``log_alpha.grad``, where the estimator needs one.

        Solver, Penalty and Elbo do this in ``step(loss, closure)``; where gradients are accumulated over several
        forwards, call it after each backward, and ``step()`` without arguments at the end. The gradient is as large as
        ``loss``: before ``scaler.unscale_(optimizer)`` of a GradScaler pass ``scaler.scale(loss)``, and a closure that
        scales too.

        Only the last draw is scored: a loss of two train-mode forwards gets a biased gradient, which nothing warns of.
        Put both batches through one forward, or call backward and score for each.

        Where ``torch.distributed`` is initialised, the gradient is the mean over the processes of the default group, as
        DistributedDataParallel makes that of the weights: every one of them must call this.

        Args:
            loss: the loss of the last forward, whose gates were drawn in train mode.
            closure: for estimators that need two losses: computes the loss anew, on the same batch. It runs once,
                without gradients, with the opposite gates; what else the forward changes (statistics of BatchNorm) it
                changes here too.

        Raises:
            StructureError: a loss that the estimator needs was not given, or nothing was drawn.
        """
        needed = self.estimator.losses
        if not needed:
            return
        kind = type(self.estimator).__name__
        if loss is None or (needed == 2 and closure is None):
            call = "step(loss, closure)" if needed == 2 else "step(loss)"
            raise StructureError(
                f"{kind} gates get their gradient from {needed} values of the loss: call {call} with the loss of this "
                "forward" + (" and a function that computes it anew" if needed == 2 else "")
            )
        if self._noise is None:
            raise StructureError(f"{kind} gates: no draw to score; run the model's forward in train mode first")
        other = None
        if needed == 2 and closure is not None:
            with self.opposite():
                other = float(closure())
        gradient = _mean_over_processes(self.estimator.score(self.log_alpha, self._noise, float(loss), other))
        self.log_alpha.grad = gradient if self.log_alpha.grad is None else self.log_alpha.grad + gradient
        self.scored = True

    @contextmanager
    def fixed(self, z: Tensor) -> Iterator[None]:
        """Within the context every forward uses the gates ``z``; afterwards all is as before.

        Args:
            z: [G]; or [B, G], where the gates are drawn for each example.

        Raises:
            StructureError: another shape.
        """
        if z.shape[-1:] != (len(self),) or z.dim() > 1 + self.per_example:
            raise StructureError(
                f"Gates: expected [{len(self)}], found {tuple(z.shape)}; attach gates with per_example=True to give "
                "them for each example"
            )
        before = self._fixed
        z = z.detach().to(self.log_alpha)
        self._fixed = _with_ungated(z, z.new_zeros(*self.log_alpha.shape[:-1], *z.shape))
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


def _mean_over_processes(gradient: Tensor) -> Tensor:
    """``gradient`` itself outside of distributed training; else the mean, which backward() makes of its own part."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return gradient
    distributed.all_reduce(gradient)
    return gradient / distributed.get_world_size()


def _with_ungated(z: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    one = z.new_ones(*z.shape[:-1], 1)
    none = slope.new_zeros(*slope.shape[:-1], 1)
    return torch.cat([z, one], -1), torch.cat([slope, none], -1)
