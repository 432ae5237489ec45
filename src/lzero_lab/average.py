"""A running mean of a model's weights, for evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """The exponential moving average of parameters; it follows faster at first: at step t by (1 + t) / (10 + t).

    Args:
        parameters: what to average.
        decay: weight of the past a step, in (0, 1).

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
