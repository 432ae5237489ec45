"""Which widths of a layer are timed, and how noise is taken out of what was found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_BLOCK = 16  # channels that the kernels of CPUs and GPUs compute at once: beyond a multiple the next block is paid


def widths_to_time(size: int, most: int = 12) -> tuple[int, ...]:
    """Up to about ``most`` widths from 1 to ``size``: halves of it down to a few, and stairs.

    Kernels compute channels by blocks, so that the time of a convolution rises right behind a multiple of 16. Widths
    are multiples of it where they can be, and as many as there is room for have their successor beside them.
    """
    found, width = {1, size}, size
    while width > _BLOCK // 4:
        width //= 2
        found.add(_rounded(width))
    found.add(_rounded(3 * size // 4))
    tops = sorted(width for width in found if 0 < width <= size)
    for width in tops:
        if width >= _BLOCK // 2 and width + 1 < size and len(found) < most:
            found.add(width + 1)
    return tuple(sorted(width for width in found if 0 < width <= size))


def _rounded(width: int) -> int:
    """``width`` to the next multiple of 16, or of 8 and 4 where it is no more than one of them."""
    step = next((step for step in (_BLOCK, _BLOCK // 2, _BLOCK // 4) if width >= 2 * step), 1)
    return (width + step // 2) // step * step


def never_falling(values: Sequence[Sequence[float]] | NDArray[np.float64]) -> NDArray[np.float64]:
    """The array [m, n] that falls with neither index and lies as near ``values`` as one can, by the largest deviation.

    The middle between the largest value at or before a place and the smallest at or behind it: isotonic regression in
    the maximum norm.

    Args:
        values: numbers, [m, n].

    Example:
        >>> from lzero.latency import never_falling
        >>> never_falling([[1.0, 3.0, 2.0]]).tolist()
        [[1.0, 2.5, 2.5]]
    """
    array = np.asarray(values, dtype=np.float64)
    highest = np.maximum.accumulate(np.maximum.accumulate(array, 0), 1)
    lowest = np.minimum.accumulate(np.minimum.accumulate(array[::-1, ::-1], 0), 1)[::-1, ::-1]
    made: NDArray[np.float64] = (highest + lowest) / 2
    return made
