"""Moments and quantiles of a normal on an interval, against mpmath in 60 digits."""

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lzero.gates import truncated_normal
from lzero.gates.truncated_normal import moments, upper_quantile

LOCATIONS = [-1e6, -3e4, -100.0, -40.001, -39.999, -20.0, -3.0, -0.1, 0.0, 0.1, 2.0, 5.0, 17.0]


def scalars(*values):
    return [torch.tensor(value, dtype=torch.float64) for value in values]


def upper(x):
    return mpmath.erfc(x / mpmath.sqrt(2)) / 2


def mass(p, w):
    """I(p) = sqrt(2 pi) exp(p^2 / 2) (Q(-p) - Q(w - p)), in as many digits as that takes."""
    near, far = (upper(-p), upper(w - p)) if p <= 0 else (upper(p - w), upper(p))
    return mpmath.sqrt(2 * mpmath.pi) * mpmath.exp(p * p / 2) * (near - far)


def truth(p, w):
    with mpmath.workdps(60):
        p, w = mpmath.mpf(p), mpmath.mpf(w)
        total = mass(p, w)
        near, far = 1 / total, mpmath.exp(p * w - w * w / 2) / total
        mean = p + near - far
        variance = 1 - near * mean - far * (w - mean)
        centred = mpmath.log(total) - p * p / 2
        exact = [mpmath.log(total), centred, mean, mean - p, variance, near, far]
        return [float(value) for value in exact]


@pytest.mark.parametrize("width", [0.1, 0.4, 3.0, 20.0, 6e4])
@pytest.mark.parametrize("end", ["near", "far"])
def test_moments_are_accurate_in_both_tails_and_inside(width, end):
    for location in LOCATIONS:
        p = location if end == "near" else width - location
        found = vars(moments(*scalars(p, width)))
        # rounding of what a field is documented to be dominated by
        rounding = {
            "log_mass": p * p + abs(p) * width,
            "centred": p * p,
            "mean": abs(p) + width,
            "excess": abs(p) + width,
        }
        for (name, value), exact in zip(found.items(), truth(p, width), strict=True):
            loss = 1e-15 * rounding.get(name, 0.0)
            assert float(value) == pytest.approx(exact, rel=1e-8, abs=loss + 1e-300), (name, p)


def test_the_quadrature_of_the_density_agrees():
    p, w = -1.3, 2.5
    found = moments(*scalars(p, w))
    total, first, second = (mpmath.quad(lambda u, k=k: u**k * mpmath.exp(p * u - u * u / 2), [0, w]) for k in (0, 1, 2))
    assert float(found.log_mass) == pytest.approx(float(mpmath.log(total)), rel=1e-13)
    assert float(found.mean) == pytest.approx(float(first / total), rel=1e-13)
    assert float(found.variance) == pytest.approx(float(second / total - (first / total) ** 2), rel=1e-12)


@settings(max_examples=150, deadline=None)
@given(st.floats(-1e5, 30), st.floats(0.01, 1e5), st.floats(1e-9, 1 - 1e-9))
def test_quantiles_invert_the_distribution_function(p, w, above):
    p = min(p, w / 2)
    u = float(upper_quantile(*scalars(p, w, above)))
    assert 0 <= u <= w
    with mpmath.workdps(60):
        low, high, at = mpmath.mpf(-p), mpmath.mpf(w) - p, mpmath.mpf(u) - p
        if low <= 0 and at < 0:  # P(U < u) is the smaller number there
            below = (upper(-at) - upper(-low)) / (1 - upper(-low) - upper(high))
            found = float(1 - below)
        else:
            found = float((upper(at) - upper(high)) / (upper(low) - upper(high)))
        density = float(mpmath.exp(mpmath.mpf(p) * u - mpmath.mpf(u) ** 2 / 2) / mass(mpmath.mpf(p), mpmath.mpf(w)))
    rounding = density * 1e-15 * (1 + abs(p) if p >= -20 else 0)  # of u itself, which is a difference there
    assert found == pytest.approx(above, rel=1e-11, abs=rounding + 1e-15)


@pytest.mark.parametrize("name", ["_OVERSHOOT", "_SPREAD", "_MILLS"])
def test_the_asymptotic_series_are_mills(name):
    x = mpmath.mpf(60)
    with mpmath.workdps(60):
        mills = mpmath.sqrt(mpmath.pi / 2) * mpmath.exp(x * x / 2) * mpmath.erfc(x / mpmath.sqrt(2))
        overshoot = 1 / mills - x
        exact = {"_MILLS": x * mills, "_OVERSHOOT": x * overshoot, "_SPREAD": x * x * (1 - overshoot / mills)}[name]
    series = truncated_normal._series(getattr(truncated_normal, name), torch.tensor(60.0, dtype=torch.float64))
    assert float(series) == pytest.approx(float(exact), rel=1e-15)
