"""What has happened to the gates since the last step: the ground of every message about a missing gradient."""

from __future__ import annotations

import sys
from types import FrameType

import torch
from torch import Tensor

from lzero._torch import in_backward, version
from lzero.errors import SolverError

_FORWARDS_WATCHED = 3  # the first, whose callers are looked at
_FRAMES_WATCHED = 60  # how far up

REDRAWN = (
    "activation checkpointing runs a gated layer again within backward, after the gates have been drawn for another "
    "forward: its gradient would be that of other gates. Run one forward and its backward at a time (loss.backward() "
    "before the model is called again), or call the model once on both batches"
)


UNDRAWN = (
    "the model ran in eval mode, where gates are not drawn; call model.train(), and put single layers into eval mode "
    "(model.bn.eval()) to freeze their statistics"
)


class History:
    """Forwards and backwards since the last optimizer step.

    Attributes:
        scores: how many times an estimator's score has been added, ever.
    """

    def __init__(self) -> None:
        self.scores = 0
        self._trained = self._evaluated = self._without_grad = 0
        self._backwards = self._undrawn_backwards = 0
        self._alive = 0  # draws that a backward may still ask for
        self._watched = 0
        self._refused = False  # whether such a backward has been stopped since the last forward
        self._seen: dict[int, tuple[Tensor, int]] = {}  # trained weights of the last forward, and their versions then

    def forward(self, training: bool) -> None:
        """Note a forward of the model.

        Raises:
            SolverError: it runs inside of an optimizer that compares losses, which noise makes meaningless.
        """
        second = self._trained == 1  # and no step between
        if training and (self._watched < _FORWARDS_WATCHED or second):
            self._watched += 1
            _check_caller()
        if self._refused:
            self._alive, self._refused = 0, False
        trained = training and torch.is_grad_enabled()
        if trained:
            self._trained += 1
            self._seen = {}
        elif training:
            self._without_grad += 1
        else:
            self._evaluated += 1
        self._alive += trained or self._alive > 0

    def backward(self) -> None:
        """Note a backward that has come to gates that were drawn."""
        self._backwards += 1
        self._alive = 0

    def undrawn_backward(self) -> None:
        """Note a backward that has come to the evaluation gates, of a forward in eval mode."""
        self._undrawn_backwards += 1
        self._alive = 0

    @property
    def undrawn(self) -> bool:
        """Whether all that came to the gates since the last step came to evaluation gates."""
        return self._undrawn_backwards > 0 and not self._backwards

    def saw(self, weight: Tensor) -> None:
        """Note a gated weight, as it is in this forward."""
        if weight.requires_grad and torch.is_grad_enabled():
            self._seen.setdefault(id(weight), (weight, version(weight)))

    def discarded(self) -> bool:
        """Whether the loop has moved the weights since the last backward and dropped their gradient, without a step.

        So do the closures that run twice a step (sharpness-aware minimisation, line searches): what the gates have
        accumulated belongs to a gradient that nobody wants any more. Accumulation over batches keeps both.
        """
        if not self._backwards or not any(version(weight) != then for weight, then in self._seen.values()):
            return False
        return not any(weight.grad is not None and bool(weight.grad.any()) for weight, _ in self._seen.values())

    def score(self) -> None:
        """Note that a score has been added to the gradient of the gates."""
        self.scores += 1

    def step(self) -> None:
        """Begin anew, after an optimizer step."""
        self._trained = self._evaluated = self._without_grad = self._backwards = self._undrawn_backwards = 0
        self._seen = {}

    def recomputes_another_draw(self) -> bool:
        """Whether this is a recomputation within a backward whose draw may not be the last one."""
        self._refused = self._alive > 1 and in_backward()
        return self._refused

    def why_no_gradient(self) -> str:
        """The reason why the gates have no gradient, and the way out."""
        if self._backwards or self._undrawn_backwards:
            return "their gradient was cleared after backward: leave gates.log_alpha.grad to the solver"
        if self._trained:
            return (
                "no backward has come to them since the forward: call step() after loss.backward(), and let the loss "
                "depend on what the model returned"
            )
        if self._without_grad:
            return "the forward ran under torch.no_grad(); run it with gradients, and call loss.backward()"
        if self._evaluated:
            return UNDRAWN
        return (
            "there was no forward since the last step: step() was called twice for one backward (by a callback and by "
            "the loop?), or before the first one; call it once, after loss.backward()"
        )


def _check_caller() -> None:
    frame: FrameType | None = sys._getframe(2)
    for _ in range(_FRAMES_WATCHED):
        if frame is None:
            return
        if frame.f_code.co_name == "step" and isinstance(frame.f_locals.get("self"), torch.optim.LBFGS):
            raise SolverError(
                "LBFGS runs the loss several times a step and compares the values, while every forward draws other "
                "gates; train with Adam or SGD, and use LBFGS on the purged model, or once gates are settled"
            )
        frame = frame.f_back
