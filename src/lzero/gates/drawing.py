"""Which gates the forwards of a model see: drawn anew, of the deployed set, held, or fixed for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from lzero._torch import version
from lzero.checks import shown
from lzero.errors import SolverError, StructureError
from lzero.gates.draw import Draw
from lzero.gates.estimator import Estimator
from lzero.gates.history import REDRAWN, History

Deployed = Callable[[], tuple[Tensor, Tensor]]
"""What gives the evaluation gates of the deployed set, [G], and their slope, shaped as ``log_alpha``."""


class Drawing:
    """The draws of a model's gates, one a forward, and what stands in for them.

    In train mode every forward draws. In eval mode, and where a set is held, a draw stays as long as the parameters and
    the mode do. Draws for each example wait for the first gated layer, which knows how many there are. What is fixed
    comes before all of that.

    Args:
        estimator: the distribution of one gate.
        sizes: gates of every group, in order.
        per_example: draw for each example of a batch.

    Attributes:
        last: the last draw; None where the next gated layer draws.
        held: gates [G] that every forward sees, of a training that has settled; None while they are drawn.
        fixed: what every forward sees within :meth:`fix`, else None.
        history: forwards and backwards since the last step.

    Raises:
        StructureError: gates for each example, of an estimator that scores one draw.
    """

    def __init__(self, estimator: Estimator, sizes: Sequence[int], per_example: bool) -> None:
        if per_example and estimator.losses:
            raise StructureError(
                f"per_example: {type(estimator).__name__} gates share one draw, which their score belongs to; "
                "leave per_example out, or choose another estimator"
            )
        self._estimator, self._sizes, self._per_example = estimator, tuple(sizes), per_example
        self.last: Draw | None = None
        self.held: Tensor | None = None
        self.fixed: Draw | None = None
        self.history = History()

    def begin(self, log_alpha: Tensor, training: bool, deployed: Deployed) -> None:
        """Make the draw of a forward of the model that begins, where it needs a new one.

        Where the loop has dropped the gradient of its weights since the last backward, that of the gates goes too.
        """
        if self.fixed is not None:
            return
        if torch.compiler.is_compiling():
            self.last = self._sampled(log_alpha, training, deployed, None)
            return
        if training and log_alpha.grad is not None and torch.is_grad_enabled() and self.history.discarded():
            log_alpha.grad = None
        self.history.forward(training)
        if (training and self.held is None) or not self._is_current(log_alpha, training):
            if self.by_example(training):
                self.last = None
            else:
                self._make(log_alpha, training, deployed, None)

    def current(self, log_alpha: Tensor, training: bool, deployed: Deployed, examples: int | None) -> Draw:
        """The draw of the current forward, for a number of ``examples`` where each has gates of its own.

        The model's forward draws; where its layers are called by another method, the last draw holds until log_alpha
        has changed or the model is in another mode.

        Raises:
            StructureError: a gated layer sees another number of examples than the draw was made for.
        """
        draw = self.fixed
        if draw is None:
            draw = self.last
            if draw is None or not (torch.compiler.is_compiling() or self._is_current(log_alpha, training)):
                draw = self._make(log_alpha, training, deployed, examples)
        if examples is not None and draw.examples != examples:
            raise StructureError(
                f"Gates: a gated layer reads {examples} examples, the last draw has gates for {draw.examples}: the "
                "batch must be the first dim of the model's inputs and of what every gated layer reads, and only the "
                "model's forward draws for another batch; attach gates with per_example=False, or pass the layer to "
                "ignore="
            )
        return draw

    def by_example(self, training: bool) -> bool:
        """Whether the current forward has gates for each example."""
        if self.fixed is not None:
            return self.fixed.examples is not None
        return self._per_example and training and self.held is None

    def samples(self, training: bool) -> bool:
        """Whether the current forward sees gates that were drawn, and not a deployed, held or fixed set."""
        return training and self.held is None and self.fixed is None

    def hold(self, z: Tensor | None) -> None:
        """Let every forward see ``z`` [G] from now on, in train mode too; None draws again."""
        self.held, self.last = z, None

    def forget(self) -> None:
        """Let the next forward draw: the parameters are others, or lie elsewhere."""
        self.last = None

    def to(self, like: Tensor) -> None:
        """Follow the parameters to the device and the dtype of ``like``."""
        self.hold(None if self.held is None else self.held.to(like))

    @property
    def noise(self) -> Tensor | None:
        """What the last draw was sampled from, where the estimator scores the loss."""
        return None if self.last is None else self.last.noise

    @contextmanager
    def fix(self, z: Tensor, like: Tensor) -> Iterator[None]:
        """Within the context every forward sees ``z``, [G] or [B, G], as ``like``; afterwards all is as before.

        Raises:
            StructureError: another shape, or no floats.
        """
        gates = sum(self._sizes)
        if not isinstance(z, Tensor) or z.dtype.is_complex or z.is_meta:
            raise StructureError(f"Gates: expected a tensor of gates [{gates}], found {shown(z)}")
        if z.shape[-1:] != (gates,) or z.dim() > 1 + self._per_example:
            raise StructureError(
                f"Gates: expected [{gates}], found {tuple(z.shape)}; attach gates with per_example=True to give them "
                "for each example"
            )
        before = self.fixed
        self.fixed = Draw(z.detach().to(like), None, self._sizes)
        try:
            yield
        finally:
            self.fixed = before

    @contextmanager
    def opposite(self, log_alpha: Tensor, training: bool) -> Iterator[None]:
        """Within the context every forward sees the gates of the opposite noise of the forward before.

        Raises:
            StructureError: nothing was drawn yet, or the last forward was in eval mode.
        """
        noise = self.noise
        if noise is None or not training:
            raise StructureError("Gates: no draw to take the opposite of; run the model's forward in train mode first")
        with torch.no_grad():
            z, _ = self._estimator.sample(log_alpha, self._estimator.opposite(noise))
        with self.fix(z, log_alpha):
            yield

    def check_recomputation(self) -> None:
        """Raise where activation checkpointing runs a layer again, and the draw of its forward is gone.

        Raises:
            SolverError: another forward has come between a checkpointed one and its backward.
        """
        if self.fixed is None and self.held is None and self.history.recomputes_another_draw():
            raise SolverError(REDRAWN)

    def _is_current(self, log_alpha: Tensor, training: bool) -> bool:
        draw = self.last
        if draw is None or draw.key != (training, version(log_alpha)):
            return False
        return draw.z.device == log_alpha.device

    def _make(self, log_alpha: Tensor, training: bool, deployed: Deployed, examples: int | None) -> Draw:
        if torch.is_inference_mode_enabled():
            with torch.inference_mode(False):  # what is held must serve a later forward with gradients
                draw = self._sampled(log_alpha, training, deployed, examples)
        else:
            draw = self._sampled(log_alpha, training, deployed, examples)
        draw.key = (training, version(log_alpha))
        self.last = draw
        return draw

    def _sampled(self, log_alpha: Tensor, training: bool, deployed: Deployed, examples: int | None) -> Draw:
        with torch.no_grad():
            noise = slope = None
            if self.held is not None:
                z = self.held if examples is None else self.held.expand(examples, -1)
            elif training:
                like = log_alpha if log_alpha.dim() == 1 else log_alpha[0]
                noise = self._estimator.noise(like if examples is None else like.expand(examples, -1))
                z, slope = self._estimator.sample(log_alpha, noise)
            else:
                z, slope = deployed()
            return Draw(z, slope, self._sizes, noise if self._estimator.losses else None)

    def __getstate__(self) -> dict[str, object]:
        """The state of a copy or a pickle: without the last draw, which may have a graph, and with no history."""
        return {**self.__dict__, "last": None, "fixed": None, "history": History()}
