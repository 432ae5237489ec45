"""Whether a subscript is written with constants alone, seen from where it runs."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from lzero.tracing.literals import counts_from_the_end, numbers_in, written_as_constant


class Watched:
    """Says of every subscript of it whether it is written with constants alone."""

    def __getitem__(self, key: Any) -> bool:
        return written_as_constant(sys._getframe(1))


X = Watched()


def test_constants_are_told_from_names_calls_and_sums() -> None:
    n, name = 2, {"size": 2}
    assert X[-1] and X[:, :-2] and X[..., [-2], :] and X[None, -1:, 0] and X[(0, -2)] and X[::-1]
    assert X[
        :,
        :-2,
    ]
    assert not X[-n] and not X[:, :-n] and not X[[-n]] and not X[-len(name)] and not X[: -name["size"]] and not X[1 - 2]
    assert (X[:-1], X[:-n]) == (True, False)


def test_what_has_no_source_is_no_constant() -> None:
    assert eval("X[-1]", {"X": X}) is False


def test_a_function_called_otherwise_is_no_subscript() -> None:
    assert not X.__getitem__(-1)


@pytest.mark.parametrize(
    ("key", "wanted"),
    [(-1, True), (1, False), ((slice(None), [-2]), True), (slice(0, -1), True), ((True, None), False)],
)
def test_numbers_that_count_from_the_end(key: Any, wanted: bool) -> None:
    assert counts_from_the_end(key) is wanted


def test_all_numbers_of_a_key_are_found() -> None:
    assert list(numbers_in((slice(1, 2), [3, (4,)], ...))) == [1, 2, None, 3, 4, ...]
