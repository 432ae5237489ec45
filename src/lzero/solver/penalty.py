"""The penalized baseline: fixed coefficients, and whatever density they lead to."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lzero.checks import choice, real, shown
from lzero.cost import COUNTED, Cost, Measure, check_paths
from lzero.errors import BudgetError
from lzero.gates.gates import Gates
from lzero.solver.arguments import checked_gates
from lzero.solver.gate_optimizer import checked_gate_lr
from lzero.solver.gate_trainer import GateTrainer


class Penalty(GateTrainer):
    """The penalized baseline behind the same ``step()``: loss + coefficient * expected cost fraction, no target.

    Adds sum_k lambda_k * d c_k(p) / d log_alpha to the gates' gradient, with c_k the expected cost of part k as a
    fraction of its cost with every gate open: the lambda of Louizos et al. (arXiv 1712.01312, eq. 4), counted on what
    will be deployed. A single number is that of the whole model.

    Args:
        gates: what ``attach_gates`` returned.
        coefficient: lambda >= 0, in units of the loss; or a mapping from module path (a layer, or a block with all
            below it) to one of its own.
        measure: ``"params"``, ``"macs"`` or ``"gates"``.
        total_steps: of the training, where known, for the default of ``gate_lr``.
        gate_lr, optimizer, fresh: as for :class:`lzero.Solver`.

    Attributes:
        coefficient: what was given, as plain numbers.

    Example:
        >>> import lzero
        >>> from torch import nn, zeros
        >>> gates = lzero.attach_gates(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)), zeros(1, 8))
        >>> lzero.Penalty(gates, 0.1, total_steps=1000).metrics()["multiplier"]
        0.1

    Raises:
        BudgetError: a coefficient that is negative or not a finite number, an unknown measure, or a path without gated
            layers.
        SolverError: other arguments that are malformed.
    """

    coefficient: float | dict[str, float]

    def __init__(
        self,
        gates: Gates,
        coefficient: float | Mapping[str, float],
        *,
        measure: Measure = "params",
        total_steps: int | None = None,
        gate_lr: float | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        fresh: bool = False,
    ) -> None:
        gates = checked_gates("Penalty", gates)
        choice("measure", measure, COUNTED, error=BudgetError)
        values = _checked(coefficient)
        parts = _by_path(values)
        check_paths("coefficient", parts, gates.plan, consumers=measure == "gates")
        cost = Cost(gates, measure, [(path,) for path in parts])
        names = [f"{measure}/{path}" if path else measure for path in parts]
        empty = [name for name, total in zip(names, cost.total.tolist(), strict=True) if not total]
        if empty:
            raise BudgetError(f"{empty[0]}: nothing there counts towards {measure}; leave it out")
        super().__init__(
            gates,
            measure,
            asked={"coefficient": values, "measure": measure},
            gate_lr=checked_gate_lr(gate_lr, total_steps),
            optimizer=optimizer,
            anneal_steps=None if total_steps is None else max(1, total_steps // 2),
            fresh=fresh,
        )
        self.coefficient = values
        self._names, self._cost = names, cost
        self._coefficients = cost.total.new_tensor(list(parts.values())) / cost.total
        self._begin()

    def _pull(self, gradient: Tensor, norm: Tensor, finite: Tensor | None) -> None:
        p, slope = self._estimator.probability_with_slope(self.gates.log_alpha)
        gradient.add_(self._cost.at(p).pull(self._coefficients) * slope)

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

    def _narrow(self, where: Tensor) -> None:
        super()._narrow(where)
        self._cost = self._cost.of(self.gates)

    def _move(self, device: torch.device) -> None:
        super()._move(device)
        self._cost.to(device)
        self._coefficients = self._coefficients.to(device)


def _checked(coefficient: object) -> float | dict[str, float]:
    expected = "a finite number >= 0, such as 0.1"
    if not isinstance(coefficient, Mapping):
        return real("coefficient", coefficient, least=0, expected=expected, error=BudgetError)
    if not coefficient or not all(isinstance(path, str) for path in coefficient):
        raise BudgetError(f"coefficient: expected module path -> number, found {shown(dict(coefficient))}")
    return {
        path: real(f"coefficient[{path!r}]", value, least=0, expected=expected, error=BudgetError)
        for path, value in coefficient.items()
    }


def _by_path(coefficient: float | dict[str, float]) -> dict[str, float]:
    """Coefficients by module path; ``""`` is the whole model."""
    return coefficient if isinstance(coefficient, dict) else {"": coefficient}
