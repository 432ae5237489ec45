"""What a solver asks to take units out of the model on its way."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from lzero.checks import shown
from lzero.constraints import Budgets
from lzero.errors import SolverError
from lzero.gates.gates import Gates


@runtime_checkable
class Compacts(Protocol):
    """What takes units out of a model that trains, as :class:`lzero.Compaction` does."""

    @property
    def gates(self) -> Gates:
        """Those of its model."""

    def look(self, budgets: Budgets, targets: Tensor, step: int, length: int) -> None:
        """Take units out after ``step`` of a training of that ``length``, where it is time.

        Args:
            budgets: what the gates are trained for.
            targets: what these ask for at that step, as densities [K].
            step: how many steps have been taken.
            length: how many it takes.
        """


def checked_compaction(compaction: object, gates: Gates) -> Compacts | None:
    """``compaction``, if it is one of the model of ``gates``, or None.

    Raises:
        SolverError: anything else, or another model's.
    """
    if compaction is None:
        return None
    if not isinstance(compaction, Compacts):
        raise SolverError(f"compaction: expected lzero.Compaction(model, optimizer) or None, found {shown(compaction)}")
    if compaction.gates is not gates:
        raise SolverError("compaction: its model has other gates than this Solver; pass it the model of these gates")
    return compaction
