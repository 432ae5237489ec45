"""All gates of a model: one flat tensor of parameters, one draw a forward, groups as slices of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lzero._torch import version
from lzero.checks import shown, whole
from lzero.errors import SolverError, StructureError
from lzero.gates.draw import Draw
from lzero.gates.estimator import Estimator
from lzero.gates.hard_concrete import HardConcrete
from lzero.gates.history import REDRAWN, History
from lzero.gates.masks import Masks
from lzero.gates.saved import check_saved
from lzero.gates.score import score_gradient


class Gates(nn.Module):
    """The random gates of one model, as one flat ``log_alpha`` with a named slice for each group.

    ``log_alpha`` is [G], or [C, G] where the estimator has C parameters a gate. It is a buffer that requires grad, and
    no Parameter: ``loss.backward()`` gives it a gradient, and the solver alone moves it. Optimizers, weight decay,
    gradient clipping, DistributedDataParallel and FSDP never see it; state dicts do.

    A pre-hook on the model draws the noise once a forward; every gated tensor of that forward, and of its backward,
    sees the same draw. In eval mode a gate is 0 exactly where P(z != 0) <= 1/2, and the estimator's evaluation gate
    (E[z]) elsewhere. So that no layer dies, the likeliest gate of a group counts as open even below 1/2.

    Args:
        sizes: group name -> number of gates, in order.
        owners: long, [G]: for a gate that is only alive where another one is open (a feature of a gated channel),
            the index of that other gate; -1 elsewhere. Owners' groups come before those of the gates they own, and
            owners have no owners.
        estimator: the distribution of one gate.
        per_example: draw every gate anew for each example of a batch; gated inputs are then multiplied, not weights.

    Attributes:
        ledger: what a seam keeps with the gates, by name: it rides in the model's state dict, and copies have a copy.
        restored: what a state dict brought for the seam that trains these gates, until that takes it up.
        loaded: whether a state dict has been loaded since the processes of a training last agreed on theirs.
        held: the gates [G] of a training that has settled already; None while they are drawn.
        holder: what the seam that trains these gates is known by; None on a copy.
    """

    log_alpha: Tensor  # [G] or [C, G]
    plan: Any  # the structure.Plan that the gates were attached by
    rescaled: bool  # whether gated weights were divided by E[z]

    def __init__(
        self,
        sizes: Mapping[str, int],
        owners: Tensor | None = None,
        estimator: Estimator | None = None,
        per_example: bool = False,
    ) -> None:
        super().__init__()
        expected = "Gates: expected at least one group of at least one gate"
        if not isinstance(sizes, Mapping) or not sizes:
            raise StructureError(f"{expected}, found {shown(sizes)}")
        for name, size in sizes.items():
            whole(f"{expected}: {shown(name)}", size, least=1, expected="a number of gates", error=StructureError)
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
        self.sizes = tuple(sizes.values())
        coordinates = self.estimator.coordinates
        log_alpha = torch.zeros((coordinates, start) if coordinates > 1 else start)
        self.register_buffer("log_alpha", log_alpha.requires_grad_())
        owned = owners is not None and bool((owners >= 0).any())
        self._masks = Masks(self.sizes, owners if owned else None)
        self.plan, self.rescaled = None, False
        self.per_example = per_example
        self.ledger: dict[str, Tensor] = {}
        self.restored: dict[str, Tensor] | None = None
        self.loaded = False
        self.held: Tensor | None = None
        self.holder: object | None = None
        self.history = History()
        self._draw: Draw | None = None
        self._fixed: Draw | None = None

    def __len__(self) -> int:
        return self.log_alpha.shape[-1]

    def __getitem__(self, name: str) -> Tensor:
        """The slice of ``log_alpha`` that belongs to group ``name``, [k] or [C, k]."""
        return self.log_alpha[..., self.slices[name]]

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """``flat`` [G] as group name -> [k]."""
        return {name: flat[where] for name, where in self.slices.items()}

    def pieces(self, flat: Tensor) -> tuple[Tensor, ...]:
        """``flat`` [..., G] as one [..., k] a group."""
        return torch.split(flat, list(self.sizes), -1)

    @property
    def owners(self) -> Tensor:
        """For each gate the index of the gate that owns it, -1 where none does; long [G]."""
        owners = self._masks.owners
        return self.log_alpha.new_full((1,), -1, dtype=torch.long).expand(len(self)) if owners is None else owners

    @property
    def owned(self) -> bool:
        """Whether any gate is owned by another."""
        return self._masks.owners is not None

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
        """The gates that are deployed, bool [G]: P(z != 0) > 1/2 and an open owner, and at least one a group.

        Of a training that has settled, those that it holds open.
        """
        if self.held is not None:
            return self.held != 0
        return self.alive(self.with_floor(self.probability() > 0.5))

    def alive(self, open_: Tensor) -> Tensor:
        """``open_`` [G] without the gates whose owner is closed."""
        return self._masks.alive(open_)

    @torch.no_grad()
    def with_floor(self, open_: Tensor) -> Tensor:
        """``open_`` [G] with the likeliest gate opened in every group that has none alive."""
        return self._masks.with_floor(open_, self.probability().double())

    def floor(self) -> Tensor:
        """The smallest deployable set, bool [G]: the likeliest gate of every group alone."""
        return self.with_floor(torch.zeros(len(self), dtype=torch.bool, device=self.log_alpha.device))

    @torch.no_grad()
    def evaluate(self, open_: Tensor) -> Tensor:
        """Evaluation gates z, [G], for a deployed set: 0 where closed, else the estimator's, or E[z] where that is 0.

        The mean stands in where a gate is open against its median (settling, the last gate of a group): it is what
        the network has seen of that gate in training, on average.
        """
        if self.held is not None and torch.equal(open_, self.held != 0):
            return self.held
        z = self.estimator.evaluation(self.log_alpha)[0]
        return torch.where(z == 0, self.estimator.mean(self.log_alpha), z) * open_

    @torch.no_grad()
    def hold(self, open_: Tensor | None) -> None:
        """From now on every forward, in train mode too, has the evaluation gates of ``open_`` [G]; None draws again."""
        self.held = None
        self.held = None if open_ is None else self.evaluate(open_).clone()
        self._draw = None

    def draw(self, model: nn.Module | None = None, *_: Any) -> None:
        """Gates for the next forward: a new draw in training mode, the evaluation gates in eval mode.

        As a pre-hook it follows the mode of ``model``, whichever of its layers the user has frozen. Draws for each
        example wait for the first gated layer, which knows how many examples there are. Evaluation gates, and
        those of a set that is held, stay as long as nothing has changed.
        """
        if model is not None and self.training is not model.training:
            self.training = model.training
        if self._fixed is not None:
            return
        if torch.compiler.is_compiling():
            self._draw = self._sampled(None)
            return
        self.history.forward(self.training)
        if (self.training and self.held is None) or not self._is_current():
            if self.by_example:
                self._draw = None
            else:
                self._make(None)

    def current(self, examples: int | None = None) -> Draw:
        """The draw of the current forward, for a number of ``examples`` where each has gates of its own.

        The model's forward draws; where its layers are called by another method, the last draw holds until log_alpha
        has changed or the model is in another mode.

        Raises:
            StructureError: a gated layer sees another number of examples than the draw was made for.
        """
        draw = self._fixed
        if draw is None:
            draw = self._draw
            if draw is None or not (torch.compiler.is_compiling() or self._is_current()):
                draw = self._make(examples)
        if examples is not None and draw.examples != examples:
            raise StructureError(
                f"Gates: a gated layer reads {examples} examples, the last draw has gates for {draw.examples}: the "
                "batch must be the first dim of the model's inputs and of what every gated layer reads, and only the "
                "model's forward draws for another batch; attach gates with per_example=False, or pass the layer to "
                "ignore="
            )
        return draw

    def _is_current(self) -> bool:
        draw, log_alpha = self._draw, self.log_alpha
        if draw is None or draw.key != (self.training, version(log_alpha)):
            return False
        return draw.z.device == log_alpha.device

    def _make(self, examples: int | None) -> Draw:
        if torch.is_inference_mode_enabled():
            with torch.inference_mode(False):  # what is held must serve a later forward with gradients
                draw = self._sampled(examples)
        else:
            draw = self._sampled(examples)
        draw.key = (self.training, version(self.log_alpha))
        self._draw = draw
        return draw

    def _sampled(self, examples: int | None) -> Draw:
        estimator, log_alpha = self.estimator, self.log_alpha
        with torch.no_grad():
            noise = None
            if self.held is not None:
                z, slope = self.held if examples is None else self.held.expand(examples, -1), None
            elif self.training:
                like = log_alpha if log_alpha.dim() == 1 else log_alpha[0]
                noise = estimator.noise(like if examples is None else like.expand(examples, -1))
                z, slope = estimator.sample(log_alpha, noise)
            else:
                open_ = self.open_mask()
                z, slope = self.evaluate(open_), estimator.evaluation(log_alpha)[1] * open_
            return Draw(z, slope, self.sizes, noise if estimator.losses else None)

    @property
    def by_example(self) -> bool:
        """Whether the current forward has gates for each example, which multiply inputs instead of weights."""
        if self._fixed is not None:
            return self._fixed.examples is not None
        return self.per_example and self.training and self.held is None

    def reached(self) -> None:
        """Take note that a backward has come to the gates."""
        self.history.backward()

    def check_recomputation(self) -> None:
        """Raise where activation checkpointing runs a layer again, and the draw of its forward is gone.

        Raises:
            SolverError: another forward has come between a checkpointed one and its backward.
        """
        if self._fixed is None and self.held is None and self.history.recomputes_another_draw():
            raise SolverError(REDRAWN)

    @contextmanager
    def opposite(self) -> Iterator[None]:
        """Within the context every forward uses the gates of the opposite noise of the forward before.

        Raises:
            StructureError: nothing was drawn yet, or the last forward was in eval mode.
        """
        noise = None if self._draw is None else self._draw.noise
        if noise is None or not self.training:
            raise StructureError("Gates: no draw to take the opposite of; run the model's forward in train mode first")
        with torch.no_grad():
            z, _ = self.estimator.sample(self.log_alpha, self.estimator.opposite(noise))
        with self.fixed(z):
            yield

    @torch.no_grad()
    def score(self, loss: Tensor | float | None = None, closure: Callable[[], Tensor | float] | None = None) -> None:
        """Add the score-function gradient of the last forward to ``log_alpha.grad``, where the estimator needs one.

        Solver, Penalty and Elbo do this in ``step(loss, closure)``; where gradients are accumulated over several
        forwards, call it after each backward, and ``step()`` without arguments at the end. Pass the loss as it is, not
        one that a GradScaler has scaled.

        Gates that are held are not scored. Of the others only the last draw is: a loss of two train-mode forwards gets
        a biased gradient, which nothing warns of. Put both batches through one forward, or call backward and score for
        each.

        Args:
            loss: the loss of the last forward, whose gates were drawn in train mode.
            closure: for estimators that need two losses: computes the loss anew, on the same batch. It runs once,
                without gradients, with the opposite gates; what else the forward changes (statistics of BatchNorm) it
                changes here too.

        Raises:
            StructureError: a loss that the estimator needs was not given, or nothing was drawn.
        """
        if not self.estimator.losses or self.held is not None:
            return
        noise = None if self._draw is None else self._draw.noise
        gradient = score_gradient(self.estimator, self.log_alpha, noise, loss, closure, self.opposite)
        self.log_alpha.grad = gradient if self.log_alpha.grad is None else self.log_alpha.grad + gradient
        self.history.scored = True

    @contextmanager
    def fixed(self, z: Tensor) -> Iterator[None]:
        """Within the context every forward uses the gates ``z``; afterwards all is as before.

        Args:
            z: [G]; or [B, G], where the gates are drawn for each example.

        Raises:
            StructureError: another shape, or no floats.
        """
        if not isinstance(z, Tensor) or z.dtype.is_complex or z.is_meta:
            raise StructureError(f"Gates: expected a tensor of gates [{len(self)}], found {shown(z)}")
        if z.shape[-1:] != (len(self),) or z.dim() > 1 + self.per_example:
            raise StructureError(
                f"Gates: expected [{len(self)}], found {tuple(z.shape)}; attach gates with per_example=True to give "
                "them for each example"
            )
        before = self._fixed
        self._fixed = Draw(z.detach().to(self.log_alpha), None, self.sizes)
        try:
            yield
        finally:
            self._fixed = before

    def training_state(self) -> dict[str, Tensor]:
        """What a state dict has of the training of these gates, beside ``log_alpha``, by name."""
        state = dict(self.ledger if self.restored is None else self.restored)
        return state if self.held is None else {**state, "held": self.held}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take in what :meth:`training_state` returned, for the seam to go on with.

        Raises:
            SolverError: the gates are being trained for something else; nothing is changed then.
        """
        check_saved(state, len(self), None if self.holder is None else self.ledger.get("asked"))
        held = state.get("held")
        self.held = None if held is None else held.to(self.log_alpha).clone()
        self._draw = None
        rest = {name: value.detach().clone() for name, value in state.items() if name != "held"}
        self.restored = rest or self.restored
        self.loaded = True

    def _load_from_state_dict(self, *args: Any, **named: Any) -> None:
        """Load as any module, but keep ``log_alpha`` the tensor that its optimizer knows, also with ``assign=True``."""
        log_alpha = self.log_alpha
        super()._load_from_state_dict(*args, **named)
        if self.log_alpha is not log_alpha:
            with torch.no_grad():
                log_alpha.data = self.log_alpha.detach().to(torch.promote_types(self.log_alpha.dtype, torch.float32))
            self._buffers["log_alpha"] = log_alpha
        self._draw = None

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Gates:
        """Move or cast as any module, but keep ``log_alpha`` one tensor, in at least single precision."""
        log_alpha = self._buffers.pop("log_alpha")
        try:
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        finally:
            self._buffers["log_alpha"] = log_alpha
        if log_alpha is None:
            return self
        with torch.no_grad():
            exact, grad = log_alpha.detach(), log_alpha.grad
            moved = fn(exact)
            if moved.dtype in (torch.bfloat16, torch.float16):
                moved = exact.to(moved.device)
            log_alpha.grad = None
            log_alpha.data = moved
            log_alpha.grad = None if grad is None else grad.to(moved)
            self._masks.to(moved.device)
            self.held = None if self.held is None else self.held.to(moved)
            self._draw = None
        return self

    def __getstate__(self) -> dict[str, Any]:
        """The state of a copy or a pickle: without the last draw, which may have a graph."""
        return {**self.__dict__, "_draw": None, "_fixed": None, "holder": None, "history": History()}

    def extra_repr(self) -> str:
        """Groups with their sizes, for ``print(model)``."""
        return ", ".join(f"{name}: {s.stop - s.start}" for name, s in self.slices.items())
