"""Widths to time, and the nearest values that never fall."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lzero.latency.widths import never_falling, widths_to_time


@pytest.mark.parametrize("most", [2, 6, 12])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 20, 64, 65, 512, 800, 4096])
def test_widths_rise_from_one_to_all(size, most):
    widths = widths_to_time(size, most)
    assert widths[0] == 1 and widths[-1] == size and list(widths) == sorted(set(widths))
    assert len(widths) <= max(most, 2 + np.log2(size) + 1)


def test_both_sides_of_the_steps_are_among_them():
    assert widths_to_time(64) == (1, 4, 8, 9, 16, 17, 32, 33, 48, 49, 64)
    assert widths_to_time(16) == (1, 4, 8, 9, 12, 13, 16)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 1000))
def test_the_nearest_values_that_never_fall(m, n, seed):
    values = np.random.default_rng(seed).random((m, n))
    found = never_falling(values)
    assert (np.diff(found, axis=0) >= 0).all() and (np.diff(found, axis=1) >= 0).all()
    # no such array comes nearer: half of the deepest fall from a place to one at or behind it in both
    fall = max(
        values[i, j] - values[down, right]
        for i in range(m)
        for j in range(n)
        for down in range(i, m)
        for right in range(j, n)
    )
    assert np.abs(found - values).max() == pytest.approx(max(fall, 0.0) / 2, abs=1e-12)


def test_values_that_never_fall_stay():
    values = np.array([[1.0, 2.0], [1.0, 5.0]])
    assert (never_falling(values) == values).all()
