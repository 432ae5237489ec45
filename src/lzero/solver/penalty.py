"""The penalized baseline: a fixed coefficient, and whatever density it leads to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

from lzero.cost import Measure
from lzero.errors import BudgetError, SolverError
from lzero.gates.gates import Gates
from lzero.solver.seam import Loss, Seam


class Penalty(Seam):
    """The penalized baseline behind the same seam: loss + coefficient * expected cost fraction, no target.

    Adds coefficient * d c(p) / d log_alpha to the gates' gradient, with c the expected cost as a fraction of the cost
    with every gate open: the lambda of Louizos et al. (arXiv 1712.01312, eq. 4), counted on what will be deployed.

    Args:
        gates: what ``attach_gates`` returned.
        coefficient: lambda >= 0, in units of the loss.
        measure: ``"params"``, ``"macs"`` or ``"gates"``.

    Raises:
        BudgetError: a coefficient that is negative or not a finite number.
    """

    def __init__(self, gates: Gates, coefficient: float, *, measure: Measure = "params") -> None:
        if isinstance(coefficient, bool) or not isinstance(coefficient, Real) or not 0 <= coefficient < math.inf:
            raise BudgetError(f"coefficient: expected a finite number >= 0, such as 0.1, found {coefficient!r}")
        super().__init__(gates, measure)
        self.coefficient: float = float(coefficient)
        gates.budgets = ()

    def step(self, loss: Loss | None = None, closure: Callable[[], Loss] | None = None) -> None:
        """Add the penalty's pull to the gates' gradient; between backward and step, and as ``Solver.step``."""
        self.loss_gradient(loss, closure)
        expected, _ = self._model_cost.linearise(self.gates.probability())
        (self.coefficient * expected.sum()).backward()  # type: ignore[no-untyped-call]
        self.steps += 1

    def metrics(self) -> dict[str, float]:
        """Expected and deployed density, and the coefficient as ``multiplier`` and ``multiplier_loss_units``."""
        return {
            **super().metrics(),
            "multiplier": self.coefficient,
            "multiplier_loss_units": self.coefficient,
        }

    def state_dict(self) -> dict[str, Any]:
        """Steps and coefficient."""
        return {"steps": self.steps, "coefficient": self.coefficient}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``.

        Raises:
            SolverError: it is not a Penalty's. Nothing is changed then.
        """
        if not {"steps", "coefficient"} <= state.keys():
            raise SolverError(f"Penalty: expected the entries steps and coefficient, found {list(state)}")
        self.steps = int(state["steps"])
        self.coefficient = float(state["coefficient"])
