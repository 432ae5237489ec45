"""Truncated log-normal variables: moments, and the divergence from log-uniform ones, with their slopes."""

from __future__ import annotations

import torch
from torch import Tensor

from lzero.gates.truncated_normal import Moments, moments

# sigma over the length of the interval: below, theta is a constant in any precision; above, log theta is uniform
SIGMA_MIN, SIGMA_MAX = 1e-10, 1e3
_CONCENTRATED = 1e-7  # variance of t below which that of theta / E[theta] is equal to it


class TruncatedLogNormal:
    """theta = e^t, where t is normal and truncated to [low, high]: t = base + step u.

    u in [0, w] is the distance, in sigmas, from the end that is nearer to mu.

    Args:
        log_alpha: mu and log sigma, [2, G].
        low: smallest log theta.
        high: largest log theta.
    """

    def __init__(self, log_alpha: Tensor, low: float, high: float) -> None:
        self.mu, log_sigma = log_alpha.detach().double().unbind(0)
        self.sigma = log_sigma.exp().clamp(SIGMA_MIN * (high - low), SIGMA_MAX * (high - low))
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
