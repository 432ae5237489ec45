import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lzero.baselines import bisect_coefficient
from lzero.errors import BudgetError, NonFiniteError


def counted(function):
    """``function`` and the list of coefficients that it was called with."""
    calls = []

    def train(coefficient):
        calls.append(coefficient)
        return function(coefficient)

    return train, calls


@pytest.mark.parametrize("target", [0.05, 0.1, 0.25, 0.5, 0.8])
@pytest.mark.parametrize(
    ("shipped", "inverse"),
    [
        (lambda c: 1 / (1 + c), lambda d: 1 / d - 1),
        (lambda c: math.exp(-c), lambda d: -math.log(d)),
        (lambda c: 0.5 - math.atan(2 * math.log10(c)) / math.pi, lambda d: 10 ** (math.tan(math.pi * (0.5 - d)) / 2)),
    ],
    ids=["1 / (1 + c)", "exp(-c)", "arctan"],
)
def test_the_coefficient_of_a_smooth_curve_is_found(shipped, inverse, target):
    train, calls = counted(shipped)
    found = bisect_coefficient(train, target, tolerance=1e-3, max_trainings=40)
    assert found.converged
    assert abs(found.shipped - target) <= 1e-3
    assert math.log10(found.coefficient) == pytest.approx(math.log10(inverse(target)), abs=0.1)
    assert [coefficient for coefficient, _ in found.trainings] == calls
    assert all(density == shipped(coefficient) for coefficient, density in found.trainings)


def test_every_training_counts_and_none_is_done_twice():
    train, calls = counted(lambda c: 1 / (1 + c))
    found = bisect_coefficient(train, 0.25, low=1e-4, high=10.0)
    assert len(found.trainings) == len(calls) == len(set(calls))
    assert calls[:2] == pytest.approx([1e-4, 10.0])
    assert calls[2] == pytest.approx(10**-1.5)  # the middle of the decades


def test_an_end_of_the_bracket_that_is_close_enough_ends_the_search():
    train, calls = counted(lambda c: 1 / (1 + c))
    found = bisect_coefficient(train, 0.999, low=1e-4, high=10.0)
    assert found.converged
    assert calls == [pytest.approx(1e-4)]


@pytest.mark.parametrize("target", [0.3, 0.02])
def test_a_cliff_has_no_coefficient_for_a_density_between_its_sides(target):
    train, calls = counted(lambda c: 0.95 if c < 0.37 else 0.01)
    found = bisect_coefficient(train, target, tolerance=0.005, max_trainings=12)
    assert not found.converged
    assert len(found.trainings) == len(calls) == 12
    assert found.shipped == 0.01
    assert found.coefficient >= 0.37


def test_two_sides_of_a_cliff_that_cannot_be_told_apart_end_the_search():
    found = bisect_coefficient(lambda c: 0.95 if c < 0.37 else 0.01, 0.3, max_trainings=1000)
    assert not found.converged
    assert len(found.trainings) < 25
    assert found.coefficient == pytest.approx(0.37, rel=0.01)


@pytest.mark.parametrize(
    ("low", "high"),
    [(10.0, 100.0), (1e-6, 1e-4)],
    ids=["too sparse throughout", "too dense throughout"],
)
def test_a_bracket_that_does_not_bracket_is_moved_by_decades(low, high):
    train, calls = counted(lambda c: 1 / (1 + c))
    found = bisect_coefficient(train, 0.8, low=low, high=high, max_trainings=30)
    assert found.converged
    assert found.coefficient == pytest.approx(0.25, rel=0.1)
    outwards = [10, 1, 0.1] if low > 1 else [1e-6, 1e-4, 1e-3, 1e-2, 0.1, 1]
    assert calls[: len(outwards)] == pytest.approx(outwards)


@pytest.mark.parametrize("constant", [0.9, 0.1])
def test_a_density_that_never_moves_ends_after_all_trainings(constant):
    train, calls = counted(lambda c: constant)
    found = bisect_coefficient(train, 0.5, max_trainings=7)
    assert not found.converged
    assert found.shipped == constant
    assert len(calls) == 7


def test_a_curve_that_wobbles_still_ends_within_the_tolerance():
    train, _ = counted(lambda c: 1 / (1 + c) + 0.02 * math.sin(40 * math.log10(c)))
    found = bisect_coefficient(train, 0.3, tolerance=0.01)
    assert found.converged
    assert abs(found.shipped - 0.3) <= 0.01


METHODS = ["bisect", "brentq", "ridder", "toms748"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", [0.05, 0.3, 0.8])
def test_every_finder_reaches_a_smooth_curve(method, target):
    train, calls = counted(lambda c: 1 / (1 + c))
    found = bisect_coefficient(train, target, tolerance=1e-3, max_trainings=40, method=method)
    assert found.converged and len(calls) == len(set(calls)) == len(found.trainings) < 25
    assert found.coefficient == pytest.approx(1 / target - 1, rel=0.1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", [0.25, 0.52, 0.9])
def test_densities_come_in_steps(method, target):
    train, calls = counted(lambda c: round(20 / (1 + c)) / 20)  # layers close as a whole: steps of 5 points
    found = bisect_coefficient(train, target, tolerance=0.026, max_trainings=40, method=method)
    assert found.converged and abs(found.shipped - target) <= 0.026 and len(calls) < 15
    between = bisect_coefficient(train, 0.525, tolerance=0.02, max_trainings=200, method=method)
    assert not between.converged
    assert abs(between.shipped - 0.525) == pytest.approx(0.025)
    assert len(between.trainings) < 60


@pytest.mark.parametrize("method", METHODS)
def test_a_plateau_at_the_wrong_density_is_crossed(method):
    """Nothing happens over seven decades, then everything within one: most of the official code's grid."""
    train, _ = counted(lambda c: 0.95 if c < 1 else 0.01 if c > 10 else 0.95 - 0.94 * math.log10(c))
    found = bisect_coefficient(train, 0.3, low=1e-6, high=100.0, tolerance=0.01, max_trainings=40, method=method)
    assert found.converged
    assert math.log10(found.coefficient) == pytest.approx(0.65 / 0.94, abs=0.02)


@settings(max_examples=200, deadline=None)
@given(
    method=st.sampled_from(METHODS),
    target=st.floats(0.02, 1.0),
    noise=st.floats(0.0, 0.3),
    levels=st.sampled_from([2, 5, 50, 10_000]),
    middle=st.floats(-6, 3),
    width=st.floats(0.01, 3),
    most=st.integers(1, 30),
    seed=st.integers(0, 3),
)
def test_what_comes_back_is_the_best_of_what_was_trained(method, target, noise, levels, middle, width, most, seed):
    """On noisy stairs: the search ends, counts every training once, and returns the one closest to the target."""
    random = np.random.default_rng(seed)

    def shipped(coefficient):
        smooth = 0.5 - 0.5 * math.tanh((math.log10(coefficient) - middle) / width)
        return min(max(round(smooth * levels) / levels + noise * float(random.normal()), 0.0), 1.0)

    train, calls = counted(shipped)
    found = bisect_coefficient(train, target, tolerance=0.01, max_trainings=most, method=method)
    densities = dict(found.trainings)
    assert list(densities) == calls and 1 <= len(calls) == len(set(calls)) <= most
    assert densities[found.coefficient] == found.shipped
    assert abs(found.shipped - target) == min(abs(d - target) for d in densities.values())
    assert found.converged == (abs(found.shipped - target) <= 0.01)
    if found.converged:
        assert found.coefficient == calls[-1]  # nothing is trained after it


def test_one_training_is_enough_to_have_a_result():
    found = bisect_coefficient(lambda c: 1 / (1 + c), 0.3, max_trainings=1)
    assert not found.converged
    assert found.trainings == ((pytest.approx(1e-4), pytest.approx(1.0, abs=1e-3)),)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": 0.0}, r"expected a target density in \(0, 1\]"),
        ({"target": math.nan}, "found nan"),
        ({"method": "secant"}, "method: expected one of 'bisect', 'brentq', 'ridder', 'toms748', found 'secant'"),
        ({"low": 0.0}, "low: expected a finite coefficient > 0, found 0.0"),
        ({"low": 2.0, "high": 1.0}, "found low 2.0 and high 1.0"),
        ({"high": math.inf}, "high: expected a finite coefficient > 0, found inf"),
        ({"tolerance": 0.0}, r"expected a tolerance in \(0, 1\)"),
        ({"max_trainings": 0}, "expected at least one training, found 0"),
    ],
)
def test_a_search_that_cannot_be_done_is_refused_before_any_training(arguments, message):
    train, calls = counted(lambda c: 0.5)
    with pytest.raises(BudgetError, match=message):
        bisect_coefficient(train, **{"target": 0.1, **arguments})
    assert calls == []


def test_a_training_without_a_density_is_named():
    with pytest.raises(NonFiniteError, match=r"the training at coefficient 10 shipped nan"):
        bisect_coefficient(lambda c: 1.0 if c < 1 else math.nan, 0.1)
