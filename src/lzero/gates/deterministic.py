"""Gates without noise: the positive part of a parameter, counted by a function of it that saturates.

Huang, Zhang, Zhang, Zhou, Zhu, Chen, "Deterministic Differentiable Structured Pruning for Large Language Models", arXiv
2603.08065:

    z = max(phi, 0),   dz/dphi taken to be 1 everywhere

In the cost a gate counts for s at the share t of the training, where m = 0.5 - 0.4 sqrt(t) is the authors':

    rational:   s = (1 + m) z / (z + m)                     clamped to [0, 1], with the gradient of what is not clamped
    logistic:   s = 1.2 sigmoid(2.4 (z - m) / m) - 0.1      the same; this is the authors' s
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from lzero.checks import choice, real
from lzero.errors import StructureError
from lzero.gates.estimator import Estimator, logit

_STEEPNESS, _STRETCH, _LOW = 2.4, 1.2, -0.1  # with them the logistic s is 0 to four digits at z = 0, and 1 at z = 2 m


@dataclass(frozen=True)
class Deterministic(Estimator):
    """Gates z >= 0 that are not drawn: in train mode the network is the one that would be shipped, at every step.

    From the paper are z, its gradient, and a count that saturates about a centre m, which falls. Its own penalty has
    three coefficients: of the sparsity, of its square, and of s (1 - s), against gates between open and closed. Here
    the constraint is the same as for all estimators: what pulls is the gradient of the cost at s, and the multiplier
    answers to the gates with z != 0, so that none of the three is needed. The centre falls with the target, and is at
    ``last`` when that has come down.

    Ours is the rational count. The slope of the logistic one falls exponentially with z: gates that grow while the
    weights are trained from scratch are out of reach for any multiplier, and those that are closed, of one slope all,
    take what pull there is (``figures/deterministic.md``). That of the rational one falls with z^2, on both sides of 0.

    A gate may exceed 1: the scale of its unit, which purging folds into the weights. A closed one gets the gradient
    that it would have at z = 0+, since dz/dphi is 1 there too: it opens again where the loss falls by that, or where
    less than the budget is open. The weights that read its unit get none meanwhile. All examples of a batch have the
    same gates.

    Gates settle in the order of phi. One that settling opens against its training has z = ``last``. Whole blocks and
    experts, which are there or not outside of training, still see another gate in train mode.

    Attributes:
        first: the centre at the start, > 0.
        last: the centre in the end, in (0, first].
        count: ``"rational"``, or ``"logistic"`` as published.
        progress: the share t in [0, 1] at which s is taken; :meth:`at` sets it.

    Raises:
        StructureError: a value outside these ranges.
    """

    apart: ClassVar[bool] = True

    first: float = 0.5
    last: float = 0.1
    count: Literal["rational", "logistic"] = "rational"
    progress: float = 1.0

    def __post_init__(self) -> None:
        real("Deterministic: first", self.first, above=0, expected="a number > 0", error=StructureError)
        expected = f"a number in (0, {self.first:g}]"
        real("Deterministic: last", self.last, above=0, most=self.first, expected=expected, error=StructureError)
        choice("Deterministic: count", self.count, ("rational", "logistic"), error=StructureError)
        expected = "a share in [0, 1]"
        real("Deterministic: progress", self.progress, least=0, most=1, expected=expected, error=StructureError)

    @property
    def centre(self) -> float:
        """m, the z at which a gate counts for one half."""
        return self.first - (self.first - self.last) * math.sqrt(self.progress)

    def at(self, progress: float) -> Deterministic:
        """These gates, counted as at the share ``progress`` of the training."""
        return replace(self, progress=progress)

    def noise(self, like: Tensor) -> Tensor:
        """Zeros, shaped as ``like``: nothing is drawn, and the random generators of torch are not used."""
        return torch.zeros_like(like)

    def sample(self, log_alpha: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """z = max(phi, 0) and 1, each shaped as ``noise``."""
        z, slope = self.evaluation(log_alpha)
        return z.expand_as(noise), slope.expand_as(noise)

    def evaluation(self, log_alpha: Tensor) -> tuple[Tensor, Tensor]:
        """z = max(phi, 0) and 1, [G] each."""
        return log_alpha.clamp_min(0), torch.ones_like(log_alpha)

    def mean(self, log_alpha: Tensor) -> Tensor:
        """What a unit is worth where its gate is open, [G]: z, and ``last`` where z is 0."""
        return torch.where(log_alpha > 0, log_alpha, self.last)

    def probability(self, log_alpha: Tensor) -> Tensor:
        """s, [G], in the place of P(z != 0); with the gradient :meth:`probability_slope`."""
        with torch.no_grad():
            z, m = log_alpha.clamp_min(0), self.centre
            rational = self.count == "rational"
            value = (1 + m) * z / (z + m) if rational else _STRETCH * torch.sigmoid(self._height(log_alpha)) + _LOW
            slope = self.probability_slope(log_alpha)
        return value.clamp(0, 1) + (log_alpha - log_alpha.detach()) * slope

    def probability_slope(self, log_alpha: Tensor) -> Tensor:
        """ds/dphi straight through the clamps, [G]: of a closed gate that at ``z = |phi|``, of logistic ones at 0."""
        m = self.centre
        if self.count == "rational":
            return m * (1 + m) / (log_alpha.abs() + m) ** 2
        height = self._height(log_alpha)
        return _STRETCH * _STEEPNESS / m * torch.sigmoid(height) * torch.sigmoid(-height)

    def rank(self, log_alpha: Tensor) -> Tensor:
        """``(1 + phi / (last + |phi|)) / 2``, float64 [G]: by phi, and above 1/2 exactly where z != 0."""
        phi = log_alpha.double()
        return 0.5 + 0.5 * phi / (self.last + phi.abs())

    def initial(self, open_probability: float) -> tuple[float]:
        """The phi with s = ``open_probability`` at the start of a training: in (0, 1) with the default constants."""
        logit(open_probability)
        if self.count == "rational":
            return (self.first * open_probability / (1 + self.first - open_probability),)
        return (self.first * (1 + logit((open_probability - _LOW) / _STRETCH) / _STEEPNESS),)

    def _height(self, log_alpha: Tensor) -> Tensor:
        return _STEEPNESS / self.centre * (log_alpha.clamp_min(0) - self.centre)
