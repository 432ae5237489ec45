"""Labels of a tensor that nothing can be removed from."""

from __future__ import annotations

import numpy as np
import pytest

from lzero.tracing.label import Slot, fixed


@pytest.mark.parametrize("shape", [(), (3,), (2, 1, 4), (0, 2)])
def test_fixed_labels_are_zeros_of_every_size(shape: tuple[int, ...]) -> None:
    axes = fixed(shape)
    assert tuple(labels.size for labels in axes) == shape
    assert all(labels.dtype == np.int64 and not labels.any() for labels in axes)


def test_fixed_labels_are_arrays_of_their_own() -> None:
    one, two = fixed((2, 2))
    one[0] = 1
    assert not two.any()


def test_a_slot_is_a_place_and_cannot_be_changed() -> None:
    assert Slot("w", 1, 5, 3) == Slot("w", 1, 5, 3) != Slot("w", 0, 5, 3)
    with pytest.raises(AttributeError):
        Slot("w", 1, 5, 3).start = 2  # type: ignore[misc]
