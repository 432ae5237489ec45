"""The penalized baseline: fixed coefficients, and whatever density they lead to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import torch

from lzero.constraints import named_cost
from lzero.cost import Measure, check_paths
from lzero.errors import BudgetError, SolverError
from lzero.gates.gates import Gates
from lzero.solver.seam import Loss, Seam


class Penalty(Seam):
    """The penalized baseline behind the same seam: loss + coefficient * expected cost fraction, no target.

    Adds sum_k lambda_k * d c_k(p) / d log_alpha to the gates' gradient, with c_k the expected cost of part k as a
    fraction of its cost with every gate open: the lambda of Louizos et al. (arXiv 1712.01312, eq. 4), counted on what
    will be deployed. A single number is that of the whole model.

    Args:
        gates: what ``attach_gates`` returned.
        coefficient: lambda >= 0, in units of the loss; or a mapping from module path (a layer, or a block with all
            below it) to one of its own.
        measure: ``"params"``, ``"macs"`` or ``"gates"``.

    Attributes:
        coefficient: what was given, as plain numbers.

    Raises:
        BudgetError: a coefficient that is negative or not a finite number, or a path without gated layers.
    """

    coefficient: float | dict[str, float]

    def __init__(self, gates: Gates, coefficient: float | Mapping[str, float], *, measure: Measure = "params") -> None:
        self.coefficient = _checked(coefficient)
        super().__init__(gates, measure)
        parts = _by_path(self.coefficient)
        check_paths("coefficient", parts, gates.plan, consumers=measure == "gates")
        self._names, self._cost = named_cost(gates, measure, parts)
        gates.budgets = ()

    def step(self, loss: Loss | None = None, closure: Callable[[], Loss] | None = None) -> None:
        """Add the penalty's pull to the gates' gradient; between backward and step, and as ``Solver.step``."""
        self.loss_gradient(loss, closure)
        expected, _ = self._cost.linearise(self.gates.probability())  # [K]
        coefficients = expected.new_tensor(list(_by_path(self.coefficient).values()))
        torch.dot(coefficients, expected).backward()  # type: ignore[no-untyped-call]
        self.steps += 1

    def metrics(self) -> dict[str, float]:
        """Expected and deployed density of the whole model, and the coefficient.

        It stands as ``multiplier`` and ``multiplier_loss_units``; with several parts each of them once a part, as
        ``name:column``.
        """
        row = super().metrics()
        for column in ("multiplier", "multiplier_loss_units"):
            for name, value in zip(self._names, _by_path(self.coefficient).values(), strict=True):
                row[column if len(self._names) == 1 else f"{name}:{column}"] = value
        return row

    def state_dict(self) -> dict[str, Any]:
        """Steps and coefficient."""
        coefficient = self.coefficient
        return {"steps": self.steps, "coefficient": dict(coefficient) if isinstance(coefficient, dict) else coefficient}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``, with its coefficients.

        Raises:
            SolverError: it is not a Penalty's, or one's with other parts. Nothing is changed then.
        """
        if not {"steps", "coefficient"} <= state.keys():
            raise SolverError(f"Penalty: expected the entries steps and coefficient, found {list(state)}")
        saved, mine = _checked(state["coefficient"]), self.coefficient
        if _by_path(saved).keys() != _by_path(mine).keys():
            raise SolverError(
                f"Penalty: the saved coefficient is {saved}, this one {mine}; build the Penalty as it was"
            )
        self.steps = int(state["steps"])
        values = _by_path(saved)
        self.coefficient = {path: values[path] for path in mine} if isinstance(mine, dict) else values[""]


def _checked(coefficient: float | Mapping[str, float]) -> float | dict[str, float]:
    if not isinstance(coefficient, Mapping):
        return _number(coefficient, "coefficient")
    if not coefficient:
        raise BudgetError("coefficient: expected at least one module path, found an empty mapping")
    return {path: _number(value, f"coefficient[{path!r}]") for path, value in coefficient.items()}


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < math.inf:
        raise BudgetError(f"{where}: expected a finite number >= 0, such as 0.1, found {value!r}")
    return float(value)


def _by_path(coefficient: float | dict[str, float]) -> dict[str, float]:
    """Coefficients by module path; ``""`` is the whole model."""
    return coefficient if isinstance(coefficient, dict) else {"": coefficient}
