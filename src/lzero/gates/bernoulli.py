"""Exactly binary gates, and three ways to a gradient through them.

z is Bernoulli with P(z = 1) = g(phi), and phi is ``log_alpha``. For the scaled sigmoid g(phi) = sigmoid(k phi), for the
hard sigmoid g(phi) = clamp(k phi + 1/2, 0, 1). Both satisfy g(phi) + g(-phi) = 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from lzero.checks import choice, real
from lzero.errors import StructureError
from lzero.gates.estimator import Estimator, Evaluation, logit

_TINY = 1e-12


@dataclass(frozen=True)
class _Bernoulli(Estimator):
    scale: float = 1.0
    link: Literal["sigmoid", "hard_sigmoid"] = "sigmoid"
    evaluate: Evaluation = "mean"

    def __post_init__(self) -> None:
        kind = type(self).__name__
        real(f"{kind}: scale", self.scale, above=0, expected="a number > 0", error=StructureError)
        choice(f"{kind}: link", self.link, ("sigmoid", "hard_sigmoid"), error=StructureError)
        choice(f"{kind}: evaluate", self.evaluate, get_args(Evaluation), error=StructureError)

    def probability(self, log_alpha: Tensor) -> Tensor:
        """g(phi), shaped as ``log_alpha``."""
        if self.link == "sigmoid":
            return torch.sigmoid(self.scale * log_alpha)
        return (self.scale * log_alpha + 0.5).clamp(0, 1)

    def probability_slope(self, log_alpha: Tensor) -> Tensor:
        """g'(phi), shaped as ``log_alpha``; the hard sigmoid's is 0 where it is clamped."""
        p = self.probability(log_alpha)
        if self.link == "sigmoid":
            return self.scale * p * (1 - p)
        return self.scale * ((p > 0) & (p < 1)).to(p.dtype)

    def sample(self, log_alpha: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """z = 1[u < g(phi)], shaped as ``noise``; its derivative is 0 almost everywhere."""
        z = (noise < self.probability(log_alpha)).to(noise.dtype)
        return z, torch.zeros_like(z)

    def evaluation(self, log_alpha: Tensor) -> tuple[Tensor, Tensor]:
        """E[z] = g(phi) and g'(phi); or the median: 1 where g(phi) > 1/2, else 0, without a slope."""
        if self.evaluate == "mean":
            return self.probability(log_alpha), self.probability_slope(log_alpha)
        z = (self.probability(log_alpha) > 0.5).to(log_alpha.dtype)
        return z, torch.zeros_like(z)

    def mean(self, log_alpha: Tensor) -> Tensor:
        """E[z] = g(phi), shaped as ``log_alpha``."""
        return self.probability(log_alpha)

    def initial(self, open_probability: float) -> tuple[float]:
        """The phi at which g(phi) = ``open_probability``."""
        start = logit(open_probability)
        return ((start if self.link == "sigmoid" else open_probability - 0.5) / self.scale,)


@dataclass(frozen=True)
class StraightThrough(_Bernoulli):
    """Bernoulli gates with the straight-through gradient: dz/dphi is taken to be g'(phi). Biased; one forward.

    Attributes:
        scale: k > 0.
        link: ``"sigmoid"`` or ``"hard_sigmoid"``.
        evaluate: an open gate in eval mode: ``"mean"``, or ``"median"``, which is 1.

    Raises:
        StructureError: other values.

    Source: Bengio, Leonard, Courville, arXiv 1308.3432.
    """

    def sample(self, log_alpha: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """z = 1[u < g(phi)] and g'(phi), each shaped as ``noise``."""
        z, _ = super().sample(log_alpha, noise)
        return z, self.probability_slope(log_alpha).expand_as(z)


@dataclass(frozen=True)
class AR(_Bernoulli):
    """Bernoulli gates with the augment-REINFORCE gradient: unbiased, from the loss f of the one forward.

        grad phi_j = f(1[u < g(phi)]) (1 - 2 u_j) r(phi_j),   r = g' / (g (1 - g)),   r = k for the scaled sigmoid

    Training loops pass the loss: ``solver.step(loss)``.

    Attributes:
        scale: k > 0.
        link: ``"sigmoid"`` or ``"hard_sigmoid"``.
        evaluate: an open gate in eval mode: ``"mean"``, or ``"median"``, which is 1.

    Raises:
        StructureError: other values.

    Source: Li, Ji, arXiv 1904.04432 (L0-ARM), after Yin, Zhou, arXiv 1807.11143; the factor r makes other links than
    the plain sigmoid unbiased too.
    """

    losses: ClassVar[int] = 1

    def score(self, log_alpha: Tensor, noise: Tensor, loss: float, opposite: float | None) -> Tensor:
        """The gradient [G], from the loss of the drawn forward."""
        return loss * (1 - 2 * noise) * self._ratio(log_alpha)

    def _ratio(self, log_alpha: Tensor) -> Tensor:
        p = self.probability(log_alpha)
        if self.link == "sigmoid":
            return torch.full_like(p, self.scale)
        return self.probability_slope(log_alpha) / (p * (1 - p)).clamp_min(_TINY)


@dataclass(frozen=True)
class ARM(AR):
    """Bernoulli gates with the augment-REINFORCE-merge gradient: unbiased, of low variance, from two forwards.

    The second one uses the opposite masks, and its loss f2 is subtracted from that of the first:

        grad phi_j = (f(1[u < g(phi)]) - f(1[u > g(-phi)])) (1/2 - u_j) r(phi_j)

    with r as for :class:`AR`. Training loops pass the loss and how to compute it anew: ``solver.step(loss, closure)``.

    Attributes:
        scale: k > 0.
        link: ``"sigmoid"`` or ``"hard_sigmoid"``.
        evaluate: an open gate in eval mode: ``"mean"``, or ``"median"``, which is 1.

    Raises:
        StructureError: other values.

    Source: Li, Ji, arXiv 1904.04432 (L0-ARM), after Yin, Zhou, arXiv 1807.11143.
    """

    losses: ClassVar[int] = 2

    def score(self, log_alpha: Tensor, noise: Tensor, loss: float, opposite: float | None) -> Tensor:
        """The gradient [G], from the losses of the drawn forward and of the opposite one."""
        return (loss - (opposite or 0.0)) * (0.5 - noise) * self._ratio(log_alpha)
