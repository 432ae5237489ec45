"""Structured Bayesian pruning: multiplicative log-normal noise on units, and its signal-to-noise ratio.

Neklyudov, Molchanov, Ashukha, Vetrov, "Structured Bayesian Pruning via Log-Normal Multiplicative Noise", arXiv
1705.07283:

    theta = exp(t),   t ~ Normal(mu, sigma^2) truncated to [low, high]      the gate, q(theta)
    t ~ Uniform[low, high]                                                  its prior, log-uniform on theta
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lzero.checks import real
from lzero.errors import StructureError
from lzero.gates.estimator import Estimator, logit
from lzero.gates.truncated_log_normal import SIGMA_MAX, SIGMA_MIN, TruncatedLogNormal
from lzero.gates.truncated_normal import upper_quantile

_RAREST = 1e-12  # noise is held this far from 0 and 1, where the quantiles of an untruncated normal are infinite


@dataclass(frozen=True)
class LogNormal(Estimator):
    """Truncated log-normal gates theta in [e^low, e^high], never 0, that are dropped where noise outweighs signal.

    ``log_alpha`` is [2, G]: mu and log sigma. ``probability`` is E[theta]^2 / E[theta^2] = SNR^2 / (1 + SNR^2) with
    SNR = E[theta] / sqrt(Var theta): more than 1/2 exactly where SNR > 1, the criterion of the paper. It stands for
    P(theta is not negligible), since P(theta > c E[theta]) >= (1 - c)^2 probability for c in [0, 1] (Paley-Zygmund). So
    budgets count units by their SNR, and a :class:`lzero.Solver` takes the place of the prior;
    :class:`lzero.solver.Elbo` is the objective as published. A gate that is certain to be small counts as open: only
    noise closes it.

    Moments are computed in float64 and returned in the dtype of ``log_alpha``. Sigma is held within 1e-10 and 1e3 of
    the interval's length; beyond, gradients are those at the bound.

    Attributes:
        low: smallest log theta.
        high: largest log theta; 0 keeps gates at most 1.

    Raises:
        StructureError: not low < high, or one of them is not finite.

    Source: arXiv 1705.07283; the interval is that of the authors' code.
    """

    coordinates: ClassVar[int] = 2

    low: float = -20.0
    high: float = 0.0

    def __post_init__(self) -> None:
        for value in (self.low, self.high):
            real("LogNormal", value, expected="finite low < high, such as -20 and 0", error=StructureError)
        if not self.low < self.high:
            raise StructureError(
                f"LogNormal: expected finite low < high, such as -20 and 0, found low={self.low}, high={self.high}"
            )

    @torch.no_grad()
    def sample(self, log_alpha: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Gates theta, shaped as ``noise``, and dtheta / d(mu, log sigma) at fixed noise, ``[2, *noise.shape]``.

        By the inverse distribution function of uniform ``noise`` in [0, 1], [G] or [B, G], in which theta increases.
        """
        frame = TruncatedLogNormal(log_alpha, self.low, self.high)
        p, w, step = frame.p, frame.w, frame.step
        level = noise.double().clamp(_RAREST, 1 - _RAREST)
        above = torch.where(step > 0, 1 - level, level)  # P(U > u), with u the distance from the nearer end
        u = upper_quantile(p, w, above)
        # du/dp = 1 - near - far and du/dw = far, from the distribution function at fixed noise
        near = torch.exp(above.log() + u * (u / 2 - p))
        far = (1 - above) * torch.exp(((w - u) * (p - (w + u) / 2)).clamp_max(0))
        shift = (1 - near - far).clamp(0, 1)  # dt/dmu
        stretch = step * (u - p * shift - w * far)  # dt/dlog sigma
        theta = torch.exp((frame.base + step * u).clamp(self.low, self.high))
        return theta.to(noise.dtype), (torch.stack([shift, stretch]) * theta).to(noise.dtype)

    def mean(self, log_alpha: Tensor) -> Tensor:
        """E[theta], [G], differentiable."""
        return _known(log_alpha, *self.evaluation(log_alpha))

    def second_moment(self, log_alpha: Tensor) -> Tensor:
        """E[theta^2] at ``log_alpha``, [G], differentiable."""
        with torch.no_grad():
            log_mean, mean_slope, surplus, slope = TruncatedLogNormal(log_alpha, self.low, self.high).cumulants()
            value = torch.exp(2 * log_mean + surplus)
        return _known(log_alpha, value, value * (2 * mean_slope + slope))

    @torch.no_grad()
    def snr(self, log_alpha: Tensor) -> Tensor:
        """Signal-to-noise ratio E[theta] / sqrt(Var theta) at ``log_alpha``, [G], without a graph; kept above 1."""
        _, _, surplus, _ = TruncatedLogNormal(log_alpha, self.low, self.high).cumulants()
        return torch.expm1(surplus).rsqrt().to(log_alpha.dtype)

    def divergence(self, log_alpha: Tensor) -> Tensor:
        """KL(q || log-uniform on the same interval) >= 0 of every gate at ``log_alpha``, [G], in nats, differentiable.

        With alpha = (low - mu) / sigma, beta = (high - mu) / sigma and Z = Phi(beta) - Phi(alpha) it is

            log((high - low) / sigma) - log(2 pi e) / 2 - log Z - (alpha phi(alpha) - beta phi(beta)) / (2 Z)
        """
        with torch.no_grad():
            value, slope = TruncatedLogNormal(log_alpha, self.low, self.high).divergence()
        return _known(log_alpha, value, slope)

    def probability(self, log_alpha: Tensor) -> Tensor:
        """E[theta]^2 / E[theta^2], [G], differentiable: more than 1/2 exactly where the SNR exceeds 1."""
        return _known(log_alpha, *self._probability(log_alpha))

    def probability_slope(self, log_alpha: Tensor) -> Tensor:
        """d probability / d(mu, log sigma), [2, G], without a graph."""
        return self._probability(log_alpha)[1].to(log_alpha.dtype)

    @torch.no_grad()
    def evaluation(self, log_alpha: Tensor) -> tuple[Tensor, Tensor]:
        """E[theta], [G], and its derivative, [2, G], without a graph."""
        log_mean, slope, _, _ = TruncatedLogNormal(log_alpha, self.low, self.high).cumulants()
        value = log_mean.exp()
        return value.to(log_alpha.dtype), (value * slope).to(log_alpha.dtype)

    def initial(self, open_probability: float) -> tuple[float, float]:
        """(mu, log sigma) with mu = ``high`` and the sigma that has this :meth:`probability`.

        Wider noise lowers the probability, down to that of the log-uniform distribution: 2 tanh(L / 2) / L, with L the
        length of the interval (0.1 for the default one). The paper's start, (0, -5), has 0.99998.

        Raises:
            StructureError: a number outside (0, 1), or one that no sigma reaches.
        """
        logit(open_probability)
        length = self.high - self.low
        first, last = math.log(SIGMA_MIN * length), math.log(SIGMA_MAX * length)
        for _ in range(6):  # to a 512th each time; the probability falls with sigma
            grid = torch.linspace(first, last, 513, dtype=torch.float64)
            fits = self.probability(torch.stack([torch.full_like(grid, self.high), grid])) >= open_probability
            at = int(fits.sum())
            if at == 513:
                lowest = 2 * math.tanh(length / 2) / length
                raise StructureError(
                    f"LogNormal: expected an open_probability above {lowest:.4g}, which is that of log-uniform gates "
                    f"on [{self.low:g}, {self.high:g}], found {open_probability}; raise it, or lower low"
                )
            first, last = float(grid[max(at - 1, 0)]), float(grid[max(at, 1)])
        return float(self.high), (first + last) / 2

    @torch.no_grad()
    def _probability(self, log_alpha: Tensor) -> tuple[Tensor, Tensor]:
        _, _, surplus, slope = TruncatedLogNormal(log_alpha, self.low, self.high).cumulants()
        value = torch.exp(-surplus)
        return value, -slope * value


class _Known(torch.autograd.Function):
    """A value [G] of ``log_alpha`` [2, G] with a known slope [2, G]."""

    @staticmethod
    def forward(ctx: Any, log_alpha: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return value.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = ctx.saved_tensors
        return grad * slope, None, None


def _known(log_alpha: Tensor, value: Tensor, slope: Tensor) -> Tensor:
    dtype = log_alpha.dtype
    return _Known.apply(log_alpha, value.to(dtype), slope.to(dtype))  # type: ignore[no-any-return,no-untyped-call]
