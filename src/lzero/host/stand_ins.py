"""Ops without a float64 kernel, computed by others that have one: a proof in float64 needs them, no training does."""

from __future__ import annotations

import itertools
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from lzero._torch import GROUPED_MM, EagerDispatchMode


def exact_ops(model: nn.Module) -> AbstractContextManager[Any]:
    """A context in which products in groups (``aten._grouped_mm``) run in float64 too, forward and backward.

    Every op of a forward pays for it: nothing is done where ``model`` holds no stack of matrices in float64.
    """
    stacked = any(parameter.dim() == 3 and parameter.dtype is torch.float64 for parameter in model.parameters())
    return _StandIns() if stacked and GROUPED_MM is not None else nullcontext()


class _StandIns(EagerDispatchMode):
    """Runs every op, and in float64 its stand-in."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The result of ``func``, or of what stands in for it."""
        if func.overloadpacket is GROUPED_MM and args[0].dtype is torch.float64:
            return grouped_mm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def grouped_mm(
    left: Tensor,
    right: Tensor,
    offs: Tensor | None = None,
    bias: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """What ``torch.nn.functional.grouped_mm`` gives, product by product.

    Expert e owns the stretch ``offs[e - 1]:offs[e]`` of the dim that two matrices of two dims contract, or of the rows
    of ``left`` [S, K], or of the columns of ``right`` [K, S], beside a stack of matrices [E, ...]. What no expert owns
    is 0.
    """
    if offs is None:
        made = left @ right
    else:
        ends = [0, *offs.tolist()]
        stretches = [slice(start, end) for start, end in itertools.pairwise(ends)]
        if left.dim() == right.dim() == 2:
            made = torch.stack([left[:, part] @ right[part] for part in stretches])
        elif left.dim() == 2:
            made = left.new_zeros(len(left), right.shape[-1])
            for part, matrix in zip(stretches, right, strict=True):
                made[part] = left[part] @ matrix
        else:
            made = left.new_zeros(left.shape[1], right.shape[-1])
            for part, matrix in zip(stretches, left, strict=True):
                made[:, part] = matrix @ right[:, part]
    made = made if bias is None else made + bias
    return made if out_dtype is None else made.to(out_dtype)
