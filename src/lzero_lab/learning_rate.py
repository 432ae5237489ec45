"""How the weights' learning rate falls over a training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

from lzero.errors import DataError

Schedule = Literal["linear", "cosine", "drops"]
_DROPS, _DROP = (0.3, 0.6, 0.8), 0.2


def linear(step: int, steps: int, decay: float) -> float:
    """1, then linear to 0 over the last share ``decay`` of the training."""
    return min(1.0, (steps - step) / max(decay * steps, 1.0))


def cosine(step: int, steps: int, decay: float) -> float:
    """Half a cosine from 1 to 0: (1 + cos(pi step / steps)) / 2."""
    return (1 + math.cos(math.pi * step / steps)) / 2


def drops(step: int, steps: int, decay: float) -> float:
    """1, and a fifth of what it was from 30 %, 60 % and 80 % of the training on.

    These are epochs 60, 120 and 160 of 200, as for wide residual networks (arXiv 1605.07146, section 3).
    """
    return _DROP ** sum(step >= share * steps for share in _DROPS)


SCHEDULES: Mapping[str, Callable[[int, int, float], float]] = {"linear": linear, "cosine": cosine, "drops": drops}


def rate(schedule: str, step: int, steps: int, decay: float) -> float:
    """Factor on the learning rate at ``step`` of ``steps``, in [0, 1].

    Raises:
        DataError: no schedule of that name.
    """
    if schedule not in SCHEDULES:
        raise DataError(f"schedule: expected one of {', '.join(SCHEDULES)}, found {schedule!r}")
    return SCHEDULES[schedule](step, steps, decay)
