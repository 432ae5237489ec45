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
from lzero.gates.truncated_normal import Moments, moments, upper_quantile

# sigma over the length of the interval: below, theta is a constant in any precision; above, log theta is uniform
_NARROWEST, _WIDEST = 1e-10, 1e3
_RAREST = 1e-12  # noise is held this far from 0 and 1, where the quantiles of an untruncated normal are infinite
_CONCENTRATED = 1e-7  # variance of t below which that of theta / E[theta] is equal to it


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
        """Gates theta, shaped as ``noise``, and dtheta / d(mu, log sigma) at fixed noise, [2, *noise.shape].

        By the inverse distribution function of uniform ``noise`` in [0, 1], [G] or [B, G], in which theta increases.
        """
        frame = _Frame(self, log_alpha)
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
        """E[theta^2], [G], differentiable."""
        with torch.no_grad():
            log_mean, mean_slope, surplus, slope = _Frame(self, log_alpha).cumulants()
            value = torch.exp(2 * log_mean + surplus)
        return _known(log_alpha, value, value * (2 * mean_slope + slope))

    @torch.no_grad()
    def snr(self, log_alpha: Tensor) -> Tensor:
        """Signal-to-noise ratio E[theta] / sqrt(Var theta), [G], without a graph; units are kept where it exceeds 1."""
        _, _, surplus, _ = _Frame(self, log_alpha).cumulants()
        return torch.expm1(surplus).rsqrt().to(log_alpha.dtype)

    def divergence(self, log_alpha: Tensor) -> Tensor:
        """KL(q || log-uniform on the same interval) >= 0 of every gate, [G], in nats, differentiable.

        With alpha = (low - mu) / sigma, beta = (high - mu) / sigma and Z = Phi(beta) - Phi(alpha) it is

            log((high - low) / sigma) - log(2 pi e) / 2 - log Z - (alpha phi(alpha) - beta phi(beta)) / (2 Z)
        """
        with torch.no_grad():
            value, slope = _Frame(self, log_alpha).divergence()
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
        log_mean, slope, _, _ = _Frame(self, log_alpha).cumulants()
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
        first, last = math.log(_NARROWEST * length), math.log(_WIDEST * length)
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
        _, _, surplus, slope = _Frame(self, log_alpha).cumulants()
        value = torch.exp(-surplus)
        return value, -slope * value


class _Frame:
    """The distribution of t = base + step u, with u in [0, w] the distance, in sigmas, from the end nearer to mu."""

    def __init__(self, estimator: LogNormal, log_alpha: Tensor) -> None:
        self.mu, log_sigma = log_alpha.detach().double().unbind(0)
        low, high = estimator.low, estimator.high
        self.sigma = log_sigma.exp().clamp(_NARROWEST * (high - low), _WIDEST * (high - low))
        self.w = (high - low) / self.sigma
        from_low = self.mu < (low + high) / 2
        self.p = torch.where(from_low, self.mu - low, high - self.mu) / self.sigma
        self.step = torch.where(from_low, self.sigma, -self.sigma)
        self.base = torch.where(from_low, self.mu.new_tensor(low), self.mu.new_tensor(high))  # two floats give float32
        self.inside = self.p > 0

    def cumulants(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """log E[theta], its slope, log(E[theta^2] / E[theta]^2) and its slope; slopes are [2, G].

        E[theta^m] = exp(m base) I(p + m step) / I(p): weighting by theta^m moves the location.
        """
        tilted = moments(torch.stack([self.p, self.p + self.step, self.p + 2 * self.step]), self.w)
        zero, one, two = (Moments(*row) for row in zip(*vars(tilted).values(), strict=True))
        variance = self.sigma**2
        log_mean = torch.where(
            self.inside,
            self.mu + variance / 2 + (one.centred - zero.centred),
            self.base + (one.log_mass - zero.log_mass),
        )
        surplus = torch.where(
            self.inside,
            variance + (two.centred - one.centred) - (one.centred - zero.centred),
            (two.log_mass - one.log_mass) - (one.log_mass - zero.log_mass),
        )
        narrow = variance * one.variance
        surplus = torch.where(narrow < _CONCENTRATED, narrow, surplus)
        slope = self._slope(1, one, zero)
        return log_mean, slope, surplus, self._slope(2, two, zero) - 2 * slope

    def _slope(self, m: int, tilted: Moments, zero: Moments) -> Tensor:
        """d log E[theta^m] / d(mu, log sigma), [2, G]."""
        p, moved = self.p, m * self.step
        location = torch.where(
            self.inside,
            m + (tilted.excess - zero.excess) / self.step,
            (tilted.mean - zero.mean) / self.step,
        )
        scale = torch.where(
            self.inside,
            moved**2 + (moved - p) * tilted.excess + p * zero.excess,
            (moved - p) * tilted.mean + p * zero.mean,
        )
        return torch.stack([location, scale - self.w * (tilted.far - zero.far)])

    def divergence(self) -> tuple[Tensor, Tensor]:
        """KL from the uniform distribution, log w less the entropy of u, and its slope [2, G]."""
        p, w, m = self.p, self.w, moments(self.p, self.w)
        rest = w - m.mean
        entropy = torch.where(
            self.inside,
            m.centred + 0.5 - (p * m.near + (w - p) * m.far) / 2,
            m.log_mass + 0.5 - (p * m.mean + w * m.far) / 2,
        )
        by_p = torch.where(
            self.inside,
            m.near - m.far + p * m.near * m.mean - (w - p) * m.far * rest,
            m.mean - p * m.variance - w * m.far * rest,
        )
        by_p = by_p / 2
        by_w = m.far * (1 - p * rest + (w**2 - m.variance - m.mean**2) / 2)
        slope = torch.stack([-by_p / self.step, p * by_p + w * by_w - 1])
        return (w.log() - entropy).clamp_min(0), slope


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
