"""Plain values against annotations: what passes, and what is expected in words."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import pytest

from lzero_lab.kinds import expected, fits

SEVERAL = float | Mapping[str, float]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, int),
        (1, float),
        (0.5, float),
        (None, int | None),
        ("a", Literal["a", "b"]),
        ({"fc1": 1, "fc2": 0.5}, SEVERAL),
        ({}, SEVERAL),
        (("a",), tuple[str, ...]),
        (False, bool),
        (object(), Any),
    ],
)
def test_values_that_fit(value, kind):
    assert fits(value, kind)


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (True, int, "a whole number"),
        (True, float, "a finite number"),
        (1.5, int, "a whole number"),
        ("1", float, "a finite number"),
        (math.nan, float, "a finite number"),
        (-math.inf, SEVERAL, "a finite number or a table of names and values"),
        ({"fc1": "much"}, SEVERAL, "a finite number or a table of names and values"),
        (None, int, "a whole number"),
        ("x", int | None, "a whole number"),
        ("c", Literal["a", "b"], "one of a, b"),
        (1, bool, "true or false"),
        (["a"], tuple[str, ...], "a list"),
    ],
)
def test_values_that_do_not_fit_are_told_what_is_expected(value, kind, words):
    assert not fits(value, kind) and expected(kind) == words
