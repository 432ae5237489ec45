"""The normal distribution on an interval, with moments that stay accurate far out in either tail.

In units of the standard deviation, and measured from one end of an interval of length w, the density is

    q(u) = exp(p u - u^2 / 2) / I(p),   I(p) = int_0^w exp(p u - u^2 / 2) du,   0 <= u <= w

where p is the location. Every formula here is evaluated from the end that is nearer to p. With Mills' ratio
M(x) = Q(x) / phi(x), where Q is the upper tail of the standard normal and phi its density, and x = -p:

    p <= 0 (a tail):     I = M(x) - exp(-x w - w^2 / 2) M(x + w)
    0 < p <= w / 2:      I = sqrt(2 pi) exp(p^2 / 2) (1 - Q(p) - Q(w - p))

so that no two large numbers are subtracted. All of it is elementwise, in the precision of its arguments (callers pass
float64), and without a graph: the callers know the derivatives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)
_FAR_SIGMAS = 40.0  # standard deviations beyond which the asymptotic series are more accurate than differences
# 1 / M(x) - x and the variance beyond x, as x^-1 and x^-2 times polynomials in x^-2
_OVERSHOOT = (1.0, -2.0, 10.0, -74.0, 706.0, -8162.0)
_SPREAD = (1.0, -6.0, 50.0, -518.0, 6354.0, -89782.0)
_MILLS = (1.0, -1.0, 3.0, -15.0, 105.0, -945.0)  # x M(x)


@dataclass(frozen=True, eq=False)
class Moments:
    """What the density q on [0, w] at location p integrates to; every field is shaped as p.

    Attributes:
        log_mass: log I(p).
        centred: log I(p) - p^2 / 2, accurate where log_mass is dominated by p^2 / 2.
        mean: E[u], accurate near 0.
        excess: E[u] - p, accurate where the mean is dominated by p.
        variance: of u.
        near: the density at u = 0.
        far: the density at u = w.
    """

    log_mass: Tensor
    centred: Tensor
    mean: Tensor
    excess: Tensor
    variance: Tensor
    near: Tensor
    far: Tensor


def moments(p: Tensor, w: Tensor) -> Moments:
    """The :class:`Moments` of the normal at location ``p`` with unit variance on [0, w]."""
    flipped = p > w / 2
    near_p = torch.where(flipped, w - p, p)
    found, inside = _tail(near_p.clamp_max(0), w), _inside(near_p.clamp_min(0), w)
    tail = near_p <= 0
    m = Moments(*(torch.where(tail, vars(found)[name], vars(inside)[name]) for name in vars(found)))
    far_mass = torch.where(tail, p * w - w * w / 2 + m.log_mass, p * p / 2 + m.centred)
    return Moments(
        log_mass=torch.where(flipped, far_mass, m.log_mass),
        centred=m.centred,
        mean=torch.where(flipped, w - m.mean, m.mean),
        excess=torch.where(flipped, -m.excess, m.excess),
        variance=m.variance,
        near=torch.where(flipped, m.far, m.near),
        far=torch.where(flipped, m.near, m.far),
    )


def upper_quantile(p: Tensor, w: Tensor, above: Tensor) -> Tensor:
    """The u in [0, w] with P(U > u) = ``above``, for p <= w / 2; shaped as ``above``."""
    x = -p
    close = x.clamp_max(_FAR_SIGMAS / 2)
    u = -torch.special.ndtri(above * _upper(close) + (1 - above) * _upper(close + w)) - close
    if bool((x > _FAR_SIGMAS / 2).any()):
        u = torch.where(x > _FAR_SIGMAS / 2, _far_quantile(x.clamp_min(_FAR_SIGMAS / 2), w, above), u)
    return torch.minimum(u.clamp_min(0), w)


def _far_quantile(x: Tensor, w: Tensor, above: Tensor) -> Tensor:
    """Newton's method for log(Q(x) / Q(x + u)) = surprise, which is x u + u^2 / 2 + log(M(x) / M(x + u))."""
    beyond = torch.exp(-(x + w / 2) * w) * _mills(x + w) / _mills(x)  # Q(x + w) / Q(x)
    surprise = -torch.log(above + (1 - above) * beyond)
    u = 2 * surprise / (x + (x * x + 2 * surprise).sqrt())  # without the ratio of M: too large by less than 1 / x^2
    for _ in range(3):  # convex, and approached from above
        v = x + u
        log_ratio = torch.log1p(u / x) + torch.log(_series(_MILLS, x) / _series(_MILLS, v))
        u = u - ((x + u / 2) * u + log_ratio - surprise) * _series(_MILLS, v) / v
    return u


def _tail(p: Tensor, w: Tensor) -> Moments:
    x = -p
    mills, beyond = _mills(x), _mills(x + w)
    decay = torch.exp(-(x + w / 2) * w)
    mass = mills - decay * beyond
    far, ratio = decay / mass, beyond / mills
    overshoot, spread = _one_sided(x, mills)
    mean = overshoot - far * (1 - ratio)
    rest = (x + overshoot) * (1 - ratio) - ratio * overshoot + far * ratio * (1 - ratio) - (w - mean)
    log_mass = mass.log()
    return Moments(log_mass, log_mass - x * x / 2, mean, x + mean, spread + far * rest, 1 / mass, far)


def _inside(p: Tensor, w: Tensor) -> Moments:
    outside = _upper(p) + _upper(w - p)
    near, far = (torch.exp(-y * y / 2 - _HALF_LOG_TAU) / (1 - outside) for y in (p, w - p))
    mean = p + near - far
    centred = torch.log1p(-outside) + _HALF_LOG_TAU
    variance = 1 - near * mean - far * (w - mean)
    return Moments(centred + p * p / 2, centred, mean, near - far, variance, near, far)


def _one_sided(x: Tensor, mills: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of y - x and variance of y for a standard normal y > x >= 0."""
    above = x.clamp_min(_FAR_SIGMAS)
    overshoot = torch.where(x > _FAR_SIGMAS, _series(_OVERSHOOT, above) / above, 1 / mills - x)
    spread = torch.where(x > _FAR_SIGMAS, _series(_SPREAD, above) / above**2, 1 - (x + overshoot) * overshoot)
    return overshoot, spread


def _series(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    """The polynomial in x^-2."""
    y = x**-2
    total = torch.full_like(y, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * y + coefficient
    return total


def _mills(x: Tensor) -> Tensor:
    scaled: Tensor = torch.special.erfcx(x / math.sqrt(2))
    return scaled * math.sqrt(math.pi / 2)


def _upper(x: Tensor) -> Tensor:
    return torch.erfc(x / math.sqrt(2)) / 2
