"""The hard-concrete distribution: a stretched, clamped sigmoid of logistic noise, exactly 0 or 1 with mass.

Louizos, Welling, Kingma, "Learning Sparse Neural Networks through L0 Regularization", arXiv 1712.01312, eq. 10-12:

    s = sigmoid((log u - log(1 - u) + log_alpha) / beta),   u ~ U(0, 1)
    z = clamp(s (zeta - gamma) + gamma, 0, 1)
    P(z != 0) = sigmoid(log_alpha - beta log(-gamma / zeta))
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from lzero.checks import choice, real
from lzero.errors import StructureError
from lzero.gates.estimator import Estimator, Evaluation, exact, logit

_QUADRATURE = np.polynomial.legendre.leggauss(48)
_NODES = [float(node + 1) / 2 for node in _QUADRATURE[0]]  # of Gauss and Legendre, on [0, 1]; lists, which compile
_WEIGHTS = [float(weight) / 2 for weight in _QUADRATURE[1]]
_PIECE = 1 << 16


@dataclass(frozen=True)
class HardConcrete(Estimator):
    """Hard-concrete gates with one temperature and one stretch for all.

    Attributes:
        temperature: beta > 0; smaller is closer to a Bernoulli gate.
        gamma: lower end of the stretch, < 0; the mass at exactly 0 comes from it.
        zeta: upper end of the stretch, > 1; the mass at exactly 1 comes from it.
        evaluate: what an open gate is in eval mode and in the purged model: its ``"mean"`` E[z], or its ``"median"``
            as in the papers. Networks with BatchNorm lose most of their accuracy by the median in short trainings:
            their running statistics are those of sampled gates.

    Example:
        >>> import torch
        >>> from lzero import HardConcrete
        >>> gate = HardConcrete()
        >>> gate.probability(torch.tensor(gate.initial(0.97)))
        tensor([0.9700])

    Raises:
        StructureError: a value outside these ranges.

    Source: arXiv 1712.01312, section 2.2, with its constants as defaults.
    """

    temperature: float = 2 / 3
    gamma: float = -0.1
    zeta: float = 1.1
    evaluate: Evaluation = "mean"

    def __post_init__(self) -> None:
        ranges = {"temperature": ("> 0", {"above": 0}), "gamma": ("< 0", {"below": 0}), "zeta": ("> 1", {"above": 1})}
        for name, (expected, bounds) in ranges.items():
            value = getattr(self, name)
            real(f"HardConcrete: {name}", value, expected=f"a number {expected}", error=StructureError, **bounds)
        choice("HardConcrete: evaluate", self.evaluate, get_args(Evaluation), error=StructureError)

    @property
    def _shift(self) -> float:
        """beta log(-gamma / zeta): the log_alpha at which P(z != 0) is one half."""
        return self.temperature * math.log(-self.gamma / self.zeta)

    def noise(self, like: Tensor) -> Tensor:
        """Logistic noise log u - log(1 - u), shaped as ``like``, from the device's default generator."""
        return torch.rand_like(like).logit_()

    def opposite(self, noise: Tensor) -> Tensor:
        """Logistic noise is symmetric about 0."""
        return -noise

    def sample(self, log_alpha: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Gates z and their derivatives dz/dlog_alpha, both shaped as ``log_alpha``, for given logistic ``noise``.

        Where z is not clamped, dz/dlog_alpha = (zeta - gamma) s (1 - s) / beta; it is 0 where z is.
        """
        s = (noise + log_alpha).div_(self.temperature).sigmoid_()
        stretched = (s * (self.zeta - self.gamma)).add_(self.gamma)
        with torch.no_grad():
            slope = torch.addcmul(s, s, s, value=-1).mul_((self.zeta - self.gamma) / self.temperature)
            slope = torch.ops.aten.hardtanh_backward(slope, stretched, 0, 1)  # 0 where z is clamped
        return (stretched.clamp(0, 1) if stretched.requires_grad else stretched.clamp_(0, 1)), slope

    def probability(self, log_alpha: Tensor) -> Tensor:
        """P(z != 0), shaped as ``log_alpha`` (eq. 12)."""
        return torch.sigmoid(log_alpha - self._shift)

    def probability_slope(self, log_alpha: Tensor) -> Tensor:
        """dP(z != 0) / d log_alpha = P (1 - P), shaped as ``log_alpha``."""
        p = self.probability(log_alpha)
        return p * (1 - p)

    def probability_with_slope(self, log_alpha: Tensor) -> tuple[Tensor, Tensor]:
        """P(z != 0) and P (1 - P), [G] each, without a graph, for the solver's step."""
        with torch.no_grad():
            p = (exact(log_alpha) - self._shift).sigmoid_()
            return p, torch.addcmul(p, p, p, value=-1)

    def quantile(self, log_alpha: Tensor, level: float) -> Tensor:
        """The value that z stays below with probability ``level``; level 1/2 is the median gate.

        It is 0 exactly when P(z != 0) <= 1 - level.

        Args:
            log_alpha: [G].
            level: in (0, 1).

        Raises:
            StructureError: a level outside (0, 1).
        """
        if not 0 < level < 1:
            raise StructureError(f"level: expected a number in (0, 1), found {level!r}")
        return self.sample(log_alpha, torch.full_like(log_alpha, math.log(level) - math.log1p(-level)))[0]

    def median(self, log_alpha: Tensor) -> Tensor:
        """The median gate, shaped as ``log_alpha``: 0 exactly when P(z != 0) <= 1/2."""
        return self.sample(log_alpha, torch.zeros_like(log_alpha))[0]

    def evaluation(self, log_alpha: Tensor) -> tuple[Tensor, Tensor]:
        """E[z], or the median gate, and its derivative, each shaped as ``log_alpha``."""
        if self.evaluate == "median":
            return self.sample(log_alpha, torch.zeros_like(log_alpha))
        return self._integrate(log_alpha, slope=False), self._integrate(log_alpha, slope=True)

    def mean(self, log_alpha: Tensor) -> Tensor:
        """E[z], shaped as ``log_alpha``: the integral of P(z > t) over t in [0, 1], by Gauss-Legendre quadrature.

        P(z > t) = sigmoid(log_alpha - beta log((t - gamma) / (zeta - t))); with the default constants 48 nodes give
        1e-12 in float64.
        """
        return self._integrate(log_alpha, slope=False)

    def _integrate(self, log_alpha: Tensor, *, slope: bool) -> Tensor:
        """E[z], or its derivative, shaped as ``log_alpha``; in pieces, since every gate is looked at 48 times."""
        if log_alpha.dim() and len(log_alpha) > _PIECE:
            return torch.cat([self._integrate(piece, slope=slope) for piece in torch.split(log_alpha, _PIECE)])
        shifts = [self.temperature * math.log((t - self.gamma) / (self.zeta - t)) for t in _NODES]
        survival = torch.sigmoid(log_alpha[..., None] - log_alpha.new_tensor(shifts))  # [G, 48]
        if slope:
            survival = survival * (1 - survival)
        return (survival * log_alpha.new_tensor(_WEIGHTS)).sum(-1)  # no matmul: autocast would round it

    def initial(self, open_probability: float) -> tuple[float]:
        """The log_alpha at which P(z != 0) = ``open_probability``, in (0, 1)."""
        return (logit(open_probability) + self._shift,)
