"""What a proof compares: outputs, and how much of a group they show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lzero.host.copies import linked_copy
from lzero.host.mode import freeze
from lzero.host.quiet import isolated_random_state, unfused
from lzero.host.run import call
from lzero.host.tensors import find_tensor, tensors_in
from lzero.plan.group import GateGroup
from lzero.proving.random_weights import draw_normal

TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4}  # of relative differences, by dtype; the first that runs
_FLOOR = 1e-6  # of what a difference is relative to: an output that is 0 but for rounding is no failure


def relative_difference(expected: Sequence[Tensor], found: Sequence[Tensor]) -> float:
    """Largest difference of two lists of outputs, infinite where they do not match.

    Every entry's is relative to that entry, or to the median of all that differ where that is larger: a constant that
    was filled in (a masked logit, -1e30) hides nothing of the others. Integers must be equal, and so must infinities.
    """
    if [tensor.shape for tensor in expected] != [tensor.shape for tensor in found]:
        return math.inf
    worst = 0.0
    for a, b in zip(expected, found, strict=True):
        if not (a.is_floating_point() or a.is_complex()):
            worst = max(worst, 0.0 if torch.equal(a, b) else math.inf)
        elif a.numel():
            moved = a != b
            gap, size = (a[moved] - b[moved]).abs(), a[moved].abs()
            relative = float((gap / size.clamp(min=max(float(size.median()), _FLOOR))).max()) if gap.numel() else 0.0
            worst = max(worst, math.inf if math.isnan(relative) else relative)  # max() would drop a NaN
    return worst


def share_with_slope(slopes: Mapping[str, Tensor], group: GateGroup) -> float:
    """The share of the units of ``group`` that have a weight with a slope."""
    found = torch.zeros(group.size, dtype=torch.bool)
    for member in group.consumers:
        slope = slopes.get(member.tensor)
        if slope is not None:
            moving = slope != 0
            if member.dim >= 0:
                moving = moving.transpose(0, member.dim).reshape(slope.shape[member.dim], -1).any(1)
            found |= member.gather(moving.reshape(-1).cpu()).any(1)
    return float(found.double().mean())


def comparable(outputs: Sequence[Tensor]) -> bool:
    """Whether ``outputs`` can be compared: some are floats, and none is NaN."""
    floats = [tensor for tensor in outputs if tensor.is_floating_point() or tensor.is_complex()]
    return bool(floats) and not any(bool(tensor.isnan().any()) for tensor in floats)


def output_slopes(model: nn.Module, inputs: Any, names: Iterable[str], generator: torch.Generator) -> dict[str, Tensor]:
    """Gradients of a random projection of the outputs with respect to the tensors ``names``; may be empty.

    ``model`` is a private copy; afterwards none of its parameters requires grad.
    """
    tensors = {name: find_tensor(model, name).requires_grad_() for name in sorted(names)}
    try:
        with unfused(), torch.enable_grad(), isolated_random_state(model):
            outputs = [t for t in tensors_in(call(linked_copy(model), inputs)) if t.requires_grad]
            weights = [draw_normal(tensor, generator) for tensor in outputs]
            slopes = torch.autograd.grad(outputs, list(tensors.values()), weights, allow_unused=True)
        return {name: slope for name, slope in zip(tensors, slopes, strict=True) if slope is not None}
    except Exception:  # a forward without gradients (no_grad inside, in-place on leaves) is compared by value
        return {}
    finally:
        freeze(model)


def largest_difference(one: Sequence[Tensor], two: Sequence[Tensor]) -> tuple[float, float]:
    """Largest absolute difference of two lists of outputs, and the largest finite value of what differs.

    Of tensors that are equal all values count. Infinite where the lists do not match; infinities that stand at the same
    place in both are equal.
    """
    if [t.shape for t in one] != [t.shape for t in two]:
        return math.inf, 0.0
    difference = scale = 0.0
    for a, b in zip(one, two, strict=True):
        if a.numel():
            a, b = a.detach().double(), b.detach().double()
            gap = float(torch.where(a == b, 0.0, (a - b).abs()).max())
            difference = max(difference, math.inf if math.isnan(gap) else gap)
            counts = a.isfinite() & ((a != b) | torch.equal(a, b))
            scale = max(scale, float(torch.where(counts, a.abs(), 0.0).max()))
    return difference, scale
