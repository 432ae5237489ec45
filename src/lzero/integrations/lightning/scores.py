"""What callbacks of Lightning that go by a score have seen: scores of a network that was not yet the one shipped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch


class Scores:
    """The scores that ``EarlyStopping`` and ``ModelCheckpoint`` compare with, to be begun anew.

    Args:
        stoppers: callbacks of the class EarlyStopping.
        savers: callbacks that save checkpoints; those without a monitor are left alone.
    """

    def __init__(self, stoppers: Sequence[Any], savers: Sequence[Any]) -> None:
        self._stoppers, self._savers = stoppers, savers
        self._earlier: list[tuple[Any, str]] = []

    def hear_anew(self) -> None:
        """Let early stopping count as if training began now."""
        for stopper in self._stoppers:
            stopper.wait_count, stopper.best_score = 0, _worst(stopper.mode)

    def forget_best(self) -> None:
        """Let the best checkpoint be one that comes; files that there are stay."""
        for saver in self._savers:
            if getattr(saver, "monitor", None) is None or not getattr(saver, "best_k_models", None):
                continue
            self._earlier.append((saver, saver.best_model_path))
            saver.best_k_models, saver.best_model_path, saver.kth_best_model_path = {}, "", ""
            saver.best_model_score, saver.kth_value = None, _worst(saver.mode)

    def without_best(self) -> list[str]:
        """Best checkpoints from before :meth:`forget_best` that nothing has come after."""
        return [path for saver, path in self._earlier if not saver.best_model_path]


def _worst(mode: str) -> torch.Tensor:
    return torch.tensor(math.inf if mode == "min" else -math.inf)
