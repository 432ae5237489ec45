"""Running a stranger's model without side effects that it did not ask for, and comparing what comes out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from lzero.structure.forward import isolated_random_state, map_tensors, tensors_in, unfused
from lzero.structure.mode import set_mode


def call(model: nn.Module, inputs: Any) -> Any:
    """``model`` of a tuple or list of positional, of a dict of keyword arguments, or of any other single argument.

    The forward gets copies: it may write into its inputs, or take entries out of them.
    """
    inputs = map_tensors(inputs, _fresh)
    if isinstance(inputs, Mapping) and all(isinstance(key, str) for key in inputs):
        return model(**inputs)
    if isinstance(inputs, tuple | list) and not isinstance(inputs, PackedSequence):
        return model(*inputs)
    return model(inputs)


def _fresh(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)


@torch.no_grad()
def run(model: nn.Module, inputs: Any) -> list[Tensor]:
    """The tensors that ``model`` returns, flat; it is left in eval mode, and the global random state is as before."""
    set_mode(model, training=False)
    with unfused(), torch.no_grad(), isolated_random_state(model):
        return list(tensors_in(call(model, inputs)))


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
