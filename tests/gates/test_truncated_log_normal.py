"""Moments and divergences of truncated log-normal variables against integrals and closed forms in 60 digits."""

import itertools

import mpmath
import pytest
import torch

from lzero.gates.truncated_log_normal import SIGMA_MAX, SIGMA_MIN, TruncatedLogNormal

INTERVALS = [(-20.0, 0.0), (-3.0, 0.5)]
GATES = list(itertools.product([-1.5, -0.2, 0.02, 0.3, 0.5, 0.9, 1.0, 1.3], [-5.0, -1.0, 0.0, 1.0, 3.0]))


def placed(interval):
    """mu from below to above the interval, and log sigma from narrow to as good as uniform, as [2, G]."""
    low, high = interval
    return torch.tensor([(low + share * (high - low), s) for share, s in GATES], dtype=torch.float64).T


def integral(f, mu, sigma, interval):
    """Of f(t) times the density of the untruncated normal, in pieces around where it lies."""
    low, high = (mpmath.mpf(end) for end in interval)
    mode = min(max(mu, low), high)
    cuts = sorted({low, high, *(min(max(mode + k * sigma, low), high) for k in (-30, -10, -4, -1, 0, 1, 4, 10, 30))})
    return mpmath.quad(lambda t: f(t) * mpmath.npdf(t, mu, sigma), cuts)


def upper(x):
    return mpmath.erfc(x / mpmath.sqrt(2)) / 2


def between(a, b):
    return upper(a) - upper(b) if a > 0 else upper(-b) - upper(-a)


def closed(mu, log_sigma, interval):
    """log E[theta], log(E[theta^2] / E[theta]^2) and the divergence from log-uniform, as the paper writes them."""
    sigma = mpmath.exp(log_sigma)
    alpha, beta = ((mpmath.mpf(end) - mu) / sigma for end in interval)
    mass = between(alpha, beta)
    one, two = (
        m * mu + (m * sigma) ** 2 / 2 + mpmath.log(between(alpha - m * sigma, beta - m * sigma) / mass) for m in (1, 2)
    )
    tails = (alpha * mpmath.npdf(alpha) - beta * mpmath.npdf(beta)) / (2 * mass)
    entropy = mpmath.log(sigma * mass) + mpmath.log(2 * mpmath.pi * mpmath.e) / 2 + tails
    return one, two - 2 * one, mpmath.log(mpmath.mpf(interval[1]) - interval[0]) - entropy


def integrated(mu, sigma, interval):
    """What :func:`closed` gives, by quadrature of the density."""
    mass = integral(lambda t: mpmath.mpf(1), mu, sigma, interval)
    first, second = (integral(lambda t, m=m: mpmath.exp(m * t), mu, sigma, interval) / mass for m in (1, 2))
    length = mpmath.mpf(interval[1]) - interval[0]
    divergence = integral(lambda t: mpmath.log(length * mpmath.npdf(t, mu, sigma) / mass), mu, sigma, interval) / mass
    return mpmath.log(first), mpmath.log(second / first**2), divergence


@pytest.mark.parametrize("log_sigma", [-1.0, 0.5])
@pytest.mark.parametrize("mu", [-4.0, -1.0, 0.3, 0.9])
def test_the_closed_forms_are_the_integrals(mu, log_sigma):
    with mpmath.workdps(30):
        expected = integrated(mpmath.mpf(mu), mpmath.exp(log_sigma), (-3.0, 0.5))
        for found, value in zip(closed(mpmath.mpf(mu), log_sigma, (-3.0, 0.5)), expected, strict=True):
            assert abs(found - value) < 1e-15


@pytest.mark.parametrize("interval", INTERVALS)
def test_values_and_slopes_are_those_of_60_digits(interval):
    gates = placed(interval)
    variable = TruncatedLogNormal(gates, *interval)
    log_mean, by_mean, surplus, by_surplus = variable.cumulants()
    divergence, by_divergence = variable.divergence()
    h = mpmath.mpf(10) ** -20
    with mpmath.workdps(60):
        for gate, (mu, log_sigma) in enumerate((mpmath.mpf(a), mpmath.mpf(b)) for a, b in gates.T.tolist()):
            values = closed(mu, log_sigma, interval)
            moved = [(closed(mu + h, log_sigma, interval), closed(mu - h, log_sigma, interval))]
            moved.append((closed(mu, log_sigma + h, interval), closed(mu, log_sigma - h, interval)))
            slopes = [[float((u - d) / (2 * h)) for u, d in zip(up, down, strict=True)] for up, down in moved]
            found = log_mean[gate], surplus[gate], divergence[gate]
            by = by_mean[:, gate], by_surplus[:, gate], by_divergence[:, gate]
            for number, (value, exact) in enumerate(zip(found, values, strict=True)):
                assert float(value) == pytest.approx(float(exact), rel=1e-9, abs=1e-9), (gate, number)
                for side in (0, 1):
                    assert float(by[number][side]) == pytest.approx(slopes[side][number], rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("interval", INTERVALS)
def test_a_wide_sigma_is_log_uniform_and_a_narrow_one_a_constant(interval):
    low, high = interval
    length = high - low
    for mu in (low - length, (low + high) / 2, high + length / 2):
        both = (torch.tensor([[mu], [log_sigma]], dtype=torch.float64) for log_sigma in (60, -60))
        wide, narrow = (TruncatedLogNormal(gates, low, high) for gates in both)
        assert float(wide.sigma) == SIGMA_MAX * length and float(narrow.sigma) == pytest.approx(SIGMA_MIN * length)
        log_mean, surplus = (float(part) for part in wide.cumulants()[::2])
        first, second = ((mpmath.exp(m * high) - mpmath.exp(m * low)) / (m * length) for m in (1, 2))
        assert log_mean == pytest.approx(float(mpmath.log(first)), abs=1e-5)
        assert surplus == pytest.approx(float(mpmath.log(second / first**2)), abs=1e-5)
        assert 0 <= float(wide.divergence()[0]) < 1e-5
        log_mean, surplus = (float(part) for part in narrow.cumulants()[::2])
        assert log_mean == pytest.approx(min(max(mu, low), high), abs=1e-6) and 0 <= surplus < 1e-12
        assert float(narrow.divergence()[0]) > 20


@pytest.mark.parametrize("log_sigma", [-7.0, -9.0, -12.0, -16.0])
@pytest.mark.parametrize("mu", [-3.0, -2.99999, -1.0, 0.5, 0.6])
def test_the_spread_of_a_narrow_gate_is_accurate_though_it_is_a_difference_of_large_numbers(mu, log_sigma):
    variable = TruncatedLogNormal(torch.tensor([[mu], [log_sigma]], dtype=torch.float64), -3.0, 0.5)
    with mpmath.workdps(60):
        exact = float(closed(mpmath.mpf(mu), mpmath.mpf(log_sigma), (-3.0, 0.5))[1])
    assert float(variable.cumulants()[2]) == pytest.approx(exact, rel=1e-5, abs=0)


def test_mirrored_locations_are_as_far_from_the_uniform():
    """Reflecting t about the middle of the interval changes no divergence, and turns its slope in mu."""
    mu = torch.linspace(-4, 1, 11, dtype=torch.float64)
    log_sigma = torch.linspace(-3, 2, 11, dtype=torch.float64)
    low, high = -3.0, 0.5
    one = TruncatedLogNormal(torch.stack([mu, log_sigma]), low, high)
    two = TruncatedLogNormal(torch.stack([low + high - mu, log_sigma]), low, high)
    (value, slope), (mirrored, turned) = one.divergence(), two.divergence()
    torch.testing.assert_close(value, mirrored, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(slope, turned * torch.tensor([[-1.0], [1.0]]), rtol=1e-9, atol=1e-11)
