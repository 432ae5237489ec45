"""The validator: what it takes comes back as plain numbers, and everything else is told with what was expected."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lzero.checks import choice, flag, real, shown, whole
from lzero.errors import BudgetError, SolverError


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_a_number_is_taken_exactly_where_it_lies_in_its_bounds(value, least, most):
    if least <= value <= most:
        assert real("x", value, least=least, most=most, expected="so", error=BudgetError) == value
    else:
        with pytest.raises(BudgetError, match="x: expected so, found"):
            real("x", value, least=least, most=most, expected="so", error=BudgetError)


@pytest.mark.parametrize("value", [np.float32(0.5), np.int64(1), Fraction(1, 2), 1])
def test_numbers_of_other_libraries_become_plain_floats(value):
    found = real("x", value, above=0, most=1, expected="so", error=BudgetError)
    assert type(found) is float and found == value


BAD = [None, True, np.True_, "0.5", b"1", math.nan, math.inf, 10**400, 1j, [1], torch.nn.ReLU, 0.0]


@pytest.mark.parametrize("value", BAD, ids=lambda value: repr(value)[:12])
def test_what_is_no_number_in_range_is_refused(value):
    with pytest.raises(SolverError, match="rate: expected a positive number, found"):
        real("rate", value, above=0, expected="a positive number", error=SolverError)


@pytest.mark.parametrize("value", [*BAD, 0, -1, 1.0, 2**70])
def test_what_is_no_whole_number_in_range_is_refused(value):
    with pytest.raises(SolverError, match="steps: expected some steps, found"):
        whole("steps", value, least=1, expected="some steps", error=SolverError)


def test_whole_numbers_words_and_answers_come_back():
    assert type(whole("n", np.int32(3), least=1, expected="", error=SolverError)) is int
    assert choice("c", "a", ("a", "b"), error=SolverError) == "a" and flag("f", False, error=SolverError) is False
    with pytest.raises(SolverError, match="c: expected one of 'a', 'b', found 'x'"):
        choice("c", "x", ("a", "b"), error=SolverError)
    with pytest.raises(SolverError, match="f: expected True or False, found 1"):
        flag("f", 1, error=SolverError)


def test_anything_can_be_shown_on_one_short_line():
    class Broken:
        def __repr__(self):
            raise RuntimeError

    for value in (10**5000, Broken(), torch.zeros(100, 100), "x\n" * 500):
        text = shown(value)
        assert len(text) <= 80 and "\n" not in text
    assert "Broken" in shown(Broken()) and "bits" in shown(10**5000)
