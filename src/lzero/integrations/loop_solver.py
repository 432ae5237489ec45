"""What the calls for loops of a framework return: a solver that knows the framework, with the model that it is for."""

from __future__ import annotations

from typing import Any

from torch import nn

from lzero.integrations.request import Request
from lzero.purge import PurgeResult, purge


class LoopSolver:
    """The solver of a model that a framework wraps later; its ``step()`` is that of the framework.

    Args:
        model: the plain model, which gates are attached to where it has none.
        request: what was asked for.

    Attributes:
        model: as it was passed, whatever the framework has made around it.
        gates: its gates.
        solver: what moves them.
    """

    def __init__(self, model: nn.Module, request: Request) -> None:
        self.model, self.gates = model, request.attach(model)
        self.solver = request.start(self.gates)

    @property
    def steps(self) -> int:
        """How many steps have been taken."""
        return self.solver.steps

    def metrics(self) -> dict[str, float]:
        """:meth:`GateTrainer.metrics`, for the framework's logger."""
        return self.solver.metrics()

    def purge(self, **options: Any) -> PurgeResult:
        """The small network: :func:`lzero.purge` of the model, with its ``options``."""
        return purge(self.model, **options)
