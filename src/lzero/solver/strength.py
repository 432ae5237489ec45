"""How strongly a constraint pulls at the gates: what its gradient is measured in."""

from __future__ import annotations

import torch
from torch import Tensor

from lzero.cost import Point

_TINY = 1e-30


def strength(point: Point, slope: Tensor, pull: Tensor | None = None) -> Tensor:
    """|d value / d log_alpha| of every part, [K], and never 0.

    Args:
        point: the costs of K parts at one p.
        slope: dp / d log_alpha, [G], or [C, G] where a gate has C parameters.
        pull: d value / d log_alpha of a single part where it is known already, shaped as ``slope``.
    """
    if pull is None:
        return point.norms(per_gate(slope)).clamp_min(_TINY)
    norm: Tensor = torch.linalg.vector_norm(pull)
    return norm.clamp_min(_TINY)


def per_gate(gradient: Tensor) -> Tensor:
    """Of [G] itself, of [C, G] the norm over each gate's parameters: [G]."""
    return gradient if gradient.dim() == 1 else gradient.norm(dim=0)
