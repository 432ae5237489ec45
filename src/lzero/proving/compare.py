"""How far two runs are apart, and how far rounding may take them: one measure and one table for every comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 5e-2}
"""Relative differences that are rounding, in another order of summation, by dtype."""

PRECISE = (torch.float64, torch.float32)
"""Dtypes that a proof may run in, the first that a model takes."""

_FLOOR = 1e-6  # of what a difference is relative to: an output that is 0 but for rounding is no failure


@dataclass(frozen=True)
class Difference:
    """The largest difference of two lists of outputs; infinite where they do not match.

    Attributes:
        absolute: over all entries.
        relative: every entry's is relative to that entry, or to the median of all that differ where that is larger: a
            constant that was filled in (a masked logit, -1e30) hides nothing of the others. Integers must be equal, and
            so must infinities.
    """

    absolute: float
    relative: float


def tolerance_of(model: nn.Module) -> float:
    """What rounding may do in ``model``: that of its coarsest dtype."""
    floats = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    return max((TOLERANCES.get(dtype, max(TOLERANCES.values())) for dtype in floats), default=min(TOLERANCES.values()))


def difference(expected: Sequence[Tensor], found: Sequence[Tensor]) -> Difference:
    """How far ``found`` is from ``expected``."""
    if [tensor.shape for tensor in expected] != [tensor.shape for tensor in found]:
        return Difference(math.inf, math.inf)
    absolute = relative = 0.0
    for a, b in zip(expected, found, strict=True):
        moved = a != b
        if not bool(moved.any()):
            continue
        wide = torch.complex128 if a.is_complex() else torch.float64
        one, two = a.detach()[moved].to(wide), b.detach()[moved].to(wide)
        gap, size = (one - two).abs(), one.abs()
        ratio = gap / size.clamp(min=max(float(size.median()), _FLOOR))
        counts = not (a.is_floating_point() or a.is_complex())
        absolute, relative = max(absolute, _largest(gap)), max(relative, math.inf if counts else _largest(ratio))
    return Difference(absolute, relative)


def comparable(outputs: Sequence[Tensor]) -> bool:
    """Whether ``outputs`` can be compared: some are floats, and none is NaN."""
    floats = [tensor for tensor in outputs if tensor.is_floating_point() or tensor.is_complex()]
    return bool(floats) and not any(bool(tensor.isnan().any()) for tensor in floats)


def _largest(values: Tensor) -> float:
    largest = float(values.max())
    return math.inf if math.isnan(largest) else largest  # max() of Python would drop a NaN
