"""Parts of a dim: which of them have to lose alike, once all are known."""

from __future__ import annotations

import numpy as np
import pytest

from lzero.plan.refusal import Reason
from lzero.tracing.cuts import Cut, whole_dims

LABELS, WHY = np.arange(1, 13), Reason("cut")


def cuts(*parts: tuple[int, int]) -> list[Cut]:
    return [Cut(LABELS, start, size, WHY, 0) for start, size in parts]


@pytest.mark.parametrize("parts", [((0, 8), (8, 4)), ((4, 2), (0, 4), (6, 6)), ((0, 8), (8, 4), (0, 8))])
def test_unequal_parts_of_the_whole_are_free(parts: tuple[tuple[int, int], ...]) -> None:
    assert list(whole_dims(cuts(*parts))) == []


@pytest.mark.parametrize("parts", [((0, 6), (6, 6)), ((0, 4),), ((0, 8),), ((0, 8), (6, 6)), ((2, 4), (6, 6))])
def test_other_parts_are_not(parts: tuple[tuple[int, int], ...]) -> None:
    (found,) = whole_dims(cuts(*parts))
    assert len(found) == len(parts)


def test_parts_of_other_dims_are_looked_at_apart() -> None:
    other = [Cut(LABELS + 12, 8, 4, WHY, 0)]
    assert len(list(whole_dims([*cuts((0, 8)), *other]))) == 2


def test_equal_parts_are_rows_of_the_dim() -> None:
    half, odd, shifted, one = cuts((6, 6), (0, 5), (3, 6), (0, 1))
    assert half.tied is not None and half.tied.tolist() == [[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]]
    assert odd.tied is None and shifted.tied is None and one.tied is None
