"""What a distribution of gates must offer, so that one solver serves them all."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor

from lzero.checks import real
from lzero.errors import StructureError
from lzero.gates.segments import MANY_GATES

Evaluation = Literal["mean", "median"]


class Estimator(ABC):
    """The distribution of one gate z, and how its parameters get a gradient.

    The parameters of G gates are one tensor ``log_alpha``: [G] where a gate has one of them, [C, G] where it has C.
    Noise and gates are [G], or [B, G] with a draw of its own for each example. There are two ways to a gradient:

    - z depends on the parameters, and :meth:`sample` returns dz / dlog_alpha (hard concrete, log-normal,
      straight-through): then ``loss.backward()`` is enough;
    - the score: z is exactly binary, its slope is 0, and :meth:`score` turns values of the loss into a gradient
      (augment-REINFORCE-merge). ``losses`` says how many it needs: 1, of the forward that was drawn, or 2, also of
      the forward with the opposite noise. See :meth:`lzero.Gates.score`.

    In eval mode an open gate is :meth:`evaluation`: its mean, which is the scale that the network has seen in training.
    With weights divided by E[z] at attachment a network just gated then gives what it gave before.

    In all methods ``log_alpha`` is that tensor, [G] or [C, G], and ``noise`` what :meth:`noise` returned.
    """

    coordinates: ClassVar[int] = 1  # C, parameters a gate
    losses: ClassVar[int] = 0  # values of the loss that score() needs
    apart: ClassVar[bool] = False  # whether rank() is another order than probability()

    def at(self, progress: float) -> Estimator:
        """The estimator at a share ``progress`` in [0, 1] of a training: itself, where nothing in it moves.

        A solver counts by it; everything else is done with the one that was attached, which is that of the end.
        """
        return self

    def noise(self, like: Tensor) -> Tensor:
        """Uniform noise on [0, 1), shaped as ``like``, from the device's default generator."""
        return torch.rand_like(like)

    def opposite(self, noise: Tensor) -> Tensor:
        """The antithetic ``noise``, which has the same distribution."""
        return 1 - noise

    @abstractmethod
    def sample(self, log_alpha: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Gates z of ``log_alpha``, shaped as ``noise``, and dz/dlog_alpha, [C, ...] where a gate has C of them."""

    @abstractmethod
    def probability(self, log_alpha: Tensor) -> Tensor:
        """P(z != 0) at ``log_alpha``, or what stands for it in the cost, [G], differentiable."""

    @abstractmethod
    def probability_slope(self, log_alpha: Tensor) -> Tensor:
        """dP(z != 0) / d log_alpha, shaped as ``log_alpha``."""

    def rank(self, log_alpha: Tensor) -> Tensor:
        """The order in which gates settle, by ``log_alpha``, [G] in [0, 1]; a gate above 1/2 is deployed."""
        return self.probability(log_alpha)

    def probability_with_slope(self, log_alpha: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`probability` [G] and :meth:`probability_slope` of ``log_alpha`` in float64, without a graph."""
        with torch.no_grad():
            exactly = exact(log_alpha)
            return self.probability(exactly), self.probability_slope(exactly)

    @abstractmethod
    def evaluation(self, log_alpha: Tensor) -> tuple[Tensor, Tensor]:
        """The gate of an open unit in eval mode, [G], and its derivative, shaped as ``log_alpha``."""

    @abstractmethod
    def mean(self, log_alpha: Tensor) -> Tensor:
        """E[z] at ``log_alpha``, [G]."""

    @abstractmethod
    def initial(self, open_probability: float) -> tuple[float, ...]:
        """The C parameters at which a training begins: there ``at(0).probability`` is ``open_probability``."""

    def score(self, log_alpha: Tensor, noise: Tensor, loss: float, opposite: float | None) -> Tensor:
        """The gradient, shaped as ``log_alpha``, from the ``loss`` of the forward that ``noise`` was drawn for.

        ``opposite`` is the loss of the forward with the opposite noise, for estimators that need two.
        """
        return torch.zeros_like(log_alpha)


def exact(log_alpha: Tensor) -> Tensor:
    """``log_alpha`` in float64, or as it is where there are so many gates that their sums average rounding out."""
    return log_alpha.detach() if log_alpha.shape[-1] > MANY_GATES else log_alpha.double()


def logit(open_probability: float) -> float:
    """log p - log(1 - p) of a probability strictly between 0 and 1.

    Raises:
        StructureError: anything else.
    """
    p = real(
        "open_probability", open_probability, above=0, below=1, expected="a number in (0, 1)", error=StructureError
    )
    return math.log(p) - math.log1p(-p)
