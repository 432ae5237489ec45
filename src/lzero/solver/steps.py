"""The steps of a training: how many were taken, and how many of them were skipped without asking the device."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from lzero.errors import NonFiniteError

PATIENCE = 50
"""Steps without a finite gradient, where a GradScaler needs 16 to find its scale; one look at the device each."""


class Steps:
    """How many steps were taken, counted on the host, and how many skipped, counted on ``device``.

    Both are tensors that change in place, so that who keeps them once has their latest values.
    """

    def __init__(self, device: torch.device) -> None:
        self._taken = np.zeros(1, dtype=np.int64)  # shared with its tensor, and changed without an op
        self._skipped = torch.zeros(1, device=device)
        self._one = torch.ones((), device=device)
        self._skipped_at_last_look = 0

    @property
    def taken(self) -> int:
        """Steps, skipped ones included."""
        return int(self._taken[0])

    @property
    def skipped(self) -> int:
        """Steps that changed nothing."""
        return int(self._skipped[0])

    def take(self) -> None:
        """Count a step."""
        self._taken[0] += 1

    def skip(self) -> None:
        """Count this step as skipped."""
        self._skipped.add_(self._one)

    def skip_unless(self, finite: Tensor) -> Tensor:
        """Count this step as skipped where ``finite``, bool [], is False; whether it is, as float32 []."""
        skip = self._one.masked_fill(finite, 0.0)
        self._skipped.add_(skip)
        return skip

    def look(self) -> None:
        """Now and then, whether any of the last steps has moved the gates.

        Raises:
            NonFiniteError: none of the last :data:`PATIENCE` has.
        """
        if self.taken % PATIENCE:
            return
        before, self._skipped_at_last_look = self._skipped_at_last_look, self.skipped
        if self.skipped - before >= PATIENCE:
            raise NonFiniteError(
                f"the gates' gradient was not finite in any of the last {PATIENCE} steps, up to step {self.taken}; "
                "they were all skipped. Look at the loss and the learning rate"
            )

    def to(self, device: torch.device) -> None:
        """Move to ``device``."""
        self._skipped, self._one = self._skipped.to(device), self._one.to(device)

    def tensors(self) -> dict[str, Tensor]:
        """All that :meth:`restore` needs, by name."""
        return {"steps": torch.from_numpy(self._taken), "skipped": self._skipped}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what :meth:`tensors` returned."""
        self._taken[0] = int(tensors["steps"][0])
        self._skipped.copy_(tensors["skipped"])
        self._skipped_at_last_look = self.skipped
