"""Budgets: what the user asks for, and the same bound to a model as a cooper constraint."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import cooper
import torch
from torch import Tensor

from lzero.cost import MEASURES, Cost, Measure, covers, layers
from lzero.errors import BudgetError
from lzero.gates.gates import Gates

Scope = str | Mapping[str, float]


@dataclass(frozen=True)
class Constraint:
    """One budget: deployed cost <= ``target`` times the cost with every gate open.

    Attributes:
        target: density in (0, 1]; leave it out where ``scope`` is a mapping.
        measure: ``"params"``, ``"macs"`` or ``"gates"``.
        scope: ``"model"``; ``"layer"``, for every gated layer on its own; or a mapping from module path (a layer, or
            a block with all below it) to its own target.

    Raises:
        BudgetError: a target outside (0, 1], or not a number; an unknown measure or scope.
    """

    target: float | None = None
    measure: Measure = "params"
    scope: Scope = "model"

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise BudgetError(f"measure: expected one of {', '.join(MEASURES)}, found {self.measure!r}")
        if isinstance(self.scope, Mapping):
            if self.target is not None:
                raise BudgetError("target: a scope that is a mapping names its own targets; leave target out")
            if not self.scope:
                raise BudgetError("scope: expected at least one module path, found an empty mapping")
            for path, target in self.scope.items():
                _check_target(target, f"scope[{path!r}]")
        elif self.scope in ("model", "layer"):
            _check_target(self.target, "target")
        else:
            raise BudgetError(f"scope: expected 'model', 'layer' or a mapping of module paths, found {self.scope!r}")

    def parts(self, gates: Gates) -> dict[str, float]:
        """Module path -> target density of every part that this budget holds for; ``""`` is the whole model."""
        if self.scope == "model":
            return {"": _number(self.target)}
        known = layers(gates.plan, consumers=self.measure == "gates")
        if self.scope == "layer":
            return {path: _number(self.target) for path in known}
        parts = {path: float(target) for path, target in dict(self.scope).items()}  # type: ignore[arg-type]
        for path in parts:
            if not any(covers(path, layer) for layer in known):
                raise BudgetError(f"scope: no gated layer at {path!r}; the gated layers are {', '.join(known)}")
        return parts


class Budget:
    """A :class:`Constraint` bound to attached gates: its costs, its targets and its cooper constraint.

    Args:
        constraint: what was asked for.
        gates: attached gates.
        augmentation: coefficient of the augmented Lagrangian; 0 is the plain one.
        two_sided: hold the density from both sides: lambda may be negative, below the target.

    Attributes:
        names: one readable name a part, K of them, such as ``"params"`` or ``"macs/conv1"``.
        cost: the costs of the K parts.
        targets: float64 [K].
        constraint: the cooper constraint, with one multiplier a part.

    Raises:
        BudgetError: no choice of gates meets a target; the message has the smallest that one does.
    """

    def __init__(
        self, constraint: Constraint, gates: Gates, augmentation: float = 0.0, two_sided: bool = False
    ) -> None:
        parts = constraint.parts(gates)
        device = gates.log_alpha.device
        self.names = [f"{constraint.measure}/{path}" if path else constraint.measure for path in parts]
        self.cost = Cost(gates, constraint.measure, [(path,) for path in parts])
        empty = [name for name, total in zip(self.names, self.cost.total.tolist(), strict=True) if not total]
        if empty:
            raise BudgetError(f"{empty[0]}: nothing there counts towards {constraint.measure}; leave it out of scope")
        self.targets = torch.tensor(list(parts.values()), dtype=torch.float64, device=device)
        smallest = self.cost.fraction(gates.floor())
        for name, target, least in zip(self.names, self.targets.tolist(), smallest.tolist(), strict=True):
            if target < least:
                raise BudgetError(
                    f"{name}: a density of {target:.6g} cannot be met: what is not gated, and one unit of every gated "
                    f"layer, already cost {least:.6g}; ask for at least {math.ceil(least * 1e6) / 1e6:.6f}"
                )
        self._multiplier = cooper.multipliers.DenseMultiplier(len(parts), device=device, dtype=torch.float64)
        self.constraint = cooper.Constraint(
            constraint_type=cooper.ConstraintType.EQUALITY if two_sided else cooper.ConstraintType.INEQUALITY,
            multiplier=self._multiplier,
            **_formulation(augmentation, len(parts), device),
        )

    @property
    def multiplier(self) -> Tensor:
        """lambda, float64 [K]; the parameter that the dual optimizer moves."""
        return self._multiplier.weight

    def project(self) -> None:
        """Put a one-sided lambda back on lambda >= 0, after a step of the dual optimizer."""
        self._multiplier.post_step_()


def asked_for(
    who: str, target_density: float | None, measure: Measure, constraints: Sequence[Constraint] | None
) -> tuple[Constraint, ...]:
    """The constraints that a seam called ``who`` was given, ``target_density`` being the shorthand for a single one.

    Raises:
        BudgetError: both or neither were given, or no constraint.
    """
    if (target_density is None) == (constraints is None):
        raise BudgetError(f"{who}: give either target_density or constraints")
    if constraints is None:
        return (Constraint(target_density, measure),)
    if measure != "params":
        raise BudgetError(f"{who}: measure belongs to target_density; give it to each Constraint instead")
    if not constraints:
        raise BudgetError(f"{who}: constraints is empty; give at least one lzero.Constraint")
    return tuple(constraints)


def part_names(who: str, budgets: Sequence[Budget]) -> list[str]:
    """The names of all parts of ``budgets``, in order.

    Raises:
        BudgetError: two of them are the same.
    """
    names = [name for budget in budgets for name in budget.names]
    if len(set(names)) < len(names):
        raise BudgetError(f"{who}: two budgets hold for the same part and measure: {', '.join(names)}")
    return names


def _formulation(augmentation: float, parts: int, device: torch.device) -> dict[str, Any]:
    if isinstance(augmentation, bool) or not isinstance(augmentation, Real) or not 0 <= augmentation < math.inf:
        raise BudgetError(f"augmentation: expected a finite number >= 0, found {augmentation!r}")
    if not augmentation:
        return {"formulation_type": cooper.formulations.Lagrangian}
    return {
        "formulation_type": cooper.formulations.AugmentedLagrangian,
        "penalty_coefficient": cooper.penalty_coefficients.DensePenaltyCoefficient(
            torch.full((parts,), augmentation, dtype=torch.float64, device=device)
        ),
    }


def _check_target(target: object, where: str) -> None:
    if isinstance(target, bool) or not isinstance(target, Real) or not 0 < float(target) <= 1:
        raise BudgetError(f"{where}: expected a density in (0, 1], such as 0.1 for a tenth, found {target!r}")


def _number(target: float | None) -> float:
    return float(target) if target is not None else math.nan
