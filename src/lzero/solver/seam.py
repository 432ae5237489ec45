"""What every solver and baseline shares: when its step may come, and what the model costs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from lzero.cost import Cost, Measure
from lzero.errors import NonFiniteError, SolverError
from lzero.gates.gates import Gates

Loss = Tensor | float


class Seam(ABC):
    """What goes between backward and step in a training loop: the gates, checks of their gradient, the cost."""

    def __init__(self, gates: Gates, measure: Measure) -> None:
        if not isinstance(gates, Gates):
            raise SolverError(f"expected the Gates that lzero.attach_gates returned, found {type(gates).__name__}")
        self.gates = gates
        self.steps = 0
        self._model_cost = Cost(gates, measure)

    @abstractmethod
    def step(self, loss: Loss | None = None, closure: Callable[[], Loss] | None = None) -> None:
        """Do its part of one optimizer step; between backward and step."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """What :meth:`load_state_dict` needs to continue to the bit."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``."""

    def loss_gradient(self, loss: Loss | None = None, closure: Callable[[], Loss] | None = None) -> Tensor:
        """d loss / d log_alpha, shaped as it, or the reason why there is none.

        Args:
            loss, closure: for estimators that score values of the loss (see :meth:`lzero.Gates.score`).
        """
        if loss is not None or not self.gates.scored:
            self.gates.score(loss, closure)
        self.gates.scored = False
        grad = self.gates.log_alpha.grad
        if grad is None:
            raise SolverError(
                "the gates' log_alpha has no gradient: call step() after loss.backward() and before optimizer.step(), "
                "with the model in train mode"
            )
        if not torch.isfinite(grad).all():
            raise NonFiniteError(
                f"the gates' log_alpha: the loss gradient is not finite at step {self.steps}; nothing was changed. "
                "Look at the loss and the learning rate; under a GradScaler call scaler.unscale_(optimizer) first "
                "and skip step() where gradients overflowed"
            )
        return grad

    def metrics(self) -> dict[str, float]:
        """Expected and deployed density of the whole model now, as plain floats for a Recorder."""
        expected = self._model_cost.fraction(self.gates.probability().detach())
        return {"expected": float(expected), "deployed": float(self._model_cost.fraction(self.gates.open_mask()))}
