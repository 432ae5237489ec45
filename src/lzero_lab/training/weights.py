"""The weights of a training: their optimizer, how its learning rate falls, and their running mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lzero_lab.errors import DataError
from lzero_lab.training.recipe import Recipe

# Optimizer of a recipe -> the names of what it keeps for a parameter.
KEPT = {"adam": frozenset({"step", "exp_avg", "exp_avg_sq"}), "sgd": frozenset({"momentum_buffer"})}
_DROPS, _DROP = (0.3, 0.6, 0.8), 0.2  # of the schedule with drops


def optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """Adam or SGD over the weights; gates belong to the trainer."""
    if recipe.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, momentum=0.9, nesterov=recipe.nesterov
    )


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


def rate_factor(schedule: str, step: int, steps: int, decay: float) -> float:
    """Factor on the learning rate at ``step`` of ``steps``, in [0, 1].

    Raises:
        DataError: no schedule of that name.
    """
    if schedule not in SCHEDULES:
        raise DataError(f"schedule: expected one of {', '.join(SCHEDULES)}, found {schedule!r}")
    return SCHEDULES[schedule](step, steps, decay)


class ExponentialMovingAverage:
    """The exponential moving average of parameters, for evaluation: mean <- d mean + (1 - d) parameter.

    It follows faster at first: d = min(``decay``, (1 + t) / (10 + t)) at step t.

    Args:
        parameters: what to average.
        decay: weight d of the past a step, in (0, 1).

    Attributes:
        values: the means, one tensor a parameter.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], decay: float) -> None:
        self._parameters, self._decay, self._steps = list(parameters), decay, 0
        self.values: list[Tensor] = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Take today's parameters into the means."""
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        torch._foreach_lerp_(self.values, list(self._parameters), 1 - decay)
        self._steps += 1

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within the context the parameters hold their means; afterwards what they held before."""
        before = [parameter.detach().clone() for parameter in self._parameters]
        self._write(self.values)
        try:
            yield
        finally:
            self._write(before)

    def load(self, values: Sequence[Tensor], steps: int) -> None:
        """Continue from the ``values`` after so many ``steps``."""
        self._steps = steps
        for mine, saved in zip(self.values, values, strict=True):
            mine.copy_(saved)

    @torch.no_grad()
    def _write(self, values: Sequence[Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.copy_(value)
