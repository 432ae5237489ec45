"""The optimizers that move the multipliers, and their default step size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import cooper
import torch
from torch import Tensor

from lzero.errors import SolverError

_LEAST, _MOST, _TRAVEL = 0.01, 0.1, 10.0


def default_lr(anneal_steps: int) -> float:
    """Step size of the ascent: 0.01, or 10 / anneal_steps where that is more, but at most 0.1.

    A short training has as little time to raise lambda as it has to close gates. ``figures/defaults.py`` measures it.
    """
    return min(max(_LEAST, _TRAVEL / anneal_steps), _MOST)


def dual_optimizer(
    dual: str, multipliers: list[Tensor], lr: float, options: Mapping[str, Any]
) -> torch.optim.Optimizer:
    """Ascent on the multipliers: plain SGD, or cooper's nuPI controller.

    Raises:
        SolverError: an unknown name, a step size that is not positive, or options that the optimizer does not take.
    """
    if isinstance(lr, bool) or not isinstance(lr, Real) or not 0 < lr < math.inf:
        raise SolverError(f"dual_lr: expected a positive number, found {lr!r}")
    if dual not in ("sgd", "nupi"):
        raise SolverError(f"dual: expected 'sgd' or 'nupi', found {dual!r}")
    try:
        if dual == "sgd":
            return torch.optim.SGD(multipliers, lr=lr, maximize=True, **options)
        gains = {"Kp": 1.0, "Ki": 1.0, "ema_nu": 0.0} | dict(options)
        gains |= {name: torch.as_tensor(gains[name]).to(multipliers[0]) for name in ("Kp", "Ki")}
        return cooper.optim.nuPI(multipliers, lr=lr, maximize=True, **gains)
    except (TypeError, ValueError) as problem:
        raise SolverError(f"dual_options: {dual} does not take {dict(options)}: {problem}") from problem
