"""The saved tensors of one layer, and the widths that they imply."""

from __future__ import annotations

import pytest
import torch

from lzero.surgery.layers import Saved

STATE = {"a.w": torch.zeros(6, 4), "a.b": torch.zeros(6), "w": torch.zeros(2, 3), "other.w": torch.zeros(9)}


def test_tensors_are_those_below_the_path() -> None:
    assert list(Saved("a", STATE).extents(w=0, b=0)) == [("a.w", 6), ("a.b", 6)]
    assert list(Saved("", STATE).extents(w=1)) == [("w", 3)] and Saved("a", STATE).size("w", 1) == 4


def test_what_was_not_saved_or_has_not_the_dim_implies_nothing() -> None:
    assert list(Saved("a", STATE).extents(missing=0, b=1)) == []


@pytest.mark.parametrize(
    ("over", "times", "width"), [(1, 1, 6), (2, 1, 3), (3, 2, 4), (1, 5, 30), (4, 1, -1), (6, 1, 1)]
)
def test_a_width_is_divided_and_multiplied(over: int, times: int, width: int) -> None:
    assert list(Saved("a", STATE).extent("w", 0, over=over, times=times)) == [("a.w", width)]
