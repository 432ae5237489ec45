"""The multipliers of a solver and the optimizer that moves them, on cooper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cooper
import torch
from torch import Tensor

from lzero.checks import choice, real, shown
from lzero.errors import SolverError

DUAL_LR_MIN, DUAL_LR_MAX, DUAL_LR_SUM = 0.01, 0.15, 20.0
DUALS = ("sgd", "nupi")


def default_dual_lr(anneal_steps: int) -> float:
    """Step size of the ascent: 0.01, or 20 / anneal_steps where that is more, but at most 0.15.

    A short training has as little time to raise lambda as it has to close gates. ``figures/defaults.py`` measures it.
    """
    return min(max(DUAL_LR_MIN, DUAL_LR_SUM / anneal_steps), DUAL_LR_MAX)


class Multipliers:
    """K multipliers with their cooper constraint, and the ascent on them.

    Args:
        parts: K.
        device: where they lie.
        dual: ``"sgd"`` (plain ascent) or ``"nupi"`` (cooper's proportional-integral controller).
        lr: step size.
        options: further arguments of the dual optimizer.
        restarts: set lambda to 0 where its sign and that of the violation disagree; a budget that is met to the bit
            leaves it as it is.
        two_sided: let lambda be negative (an equality in cooper's words); else it is projected on lambda >= 0.
        augmentation: coefficient c of the augmented Lagrangian; 0 is the plain one.

    Attributes:
        constraint: the cooper constraint.
        immediate: whether a step with violation 0 and no restart changes nothing: plain ascent has no memory.

    Raises:
        SolverError: an unknown name, a number out of range, or options that the optimizer does not take.
    """

    def __init__(
        self,
        parts: int,
        device: torch.device,
        *,
        dual: str,
        lr: float,
        options: Mapping[str, Any],
        restarts: bool,
        two_sided: bool,
        augmentation: float,
    ) -> None:
        choice("dual", dual, DUALS, error=SolverError)
        lr = real("dual_lr", lr, above=0, expected="a positive number", error=SolverError)
        self._augmentation = real(
            "augmentation", augmentation, least=0, expected="a finite number >= 0", error=SolverError
        )
        self._multiplier = cooper.multipliers.DenseMultiplier(parts, device=device, dtype=torch.float64)
        kind = cooper.ConstraintType.EQUALITY if two_sided else cooper.ConstraintType.INEQUALITY
        self.constraint = cooper.Constraint(kind, multiplier=self._multiplier, **self._formulation(parts, device))
        self._two_sided, self._restarts, self._lr = two_sided, restarts, lr
        self._optimizer = _dual_optimizer(dual, self.value, lr, options)
        self.immediate = dual == "sgd" and not options

    @property
    def value(self) -> Tensor:
        """lambda, float64 [K]; the parameter that the dual optimizer moves."""
        return self._multiplier.weight

    @property
    def augmented(self) -> bool:
        """Whether the violation itself pushes too, and not lambda alone."""
        return self._augmentation > 0

    def force(self, violation: Tensor | None = None) -> Tensor:
        """d Lagrangian / d violation, [K]: lambda, or lambda + c violation (at least 0 where lambda is)."""
        if violation is None or not self.augmented:
            return self.value
        force = self.value + self._augmentation * violation
        return force if self._two_sided else force.clamp_min(0)

    @torch.no_grad()
    def ascend(self, violation: Tensor, counts: Tensor | None = None) -> None:
        """One step up ``violation`` [K], projected and restarted; nothing where ``counts``, bool [], is False."""
        value = self.value
        violation = violation if counts is None else violation * counts
        if self.immediate:
            value.add_(violation, alpha=self._lr)
        else:
            value.grad = violation
            self._optimizer.step()
            value.grad = None
        if not self._two_sided:
            self._multiplier.post_step_()
        if self._restarts:
            value.masked_fill_(value * violation < 0, 0.0)

    def to(self, device: torch.device) -> None:
        """Move to ``device``, in place."""
        self.value.data = self.value.data.to(device)
        for state in self._optimizer.state.values():
            state.update({name: held.to(device) for name, held in state.items() if isinstance(held, Tensor)})
        for group in self._optimizer.param_groups:
            group.update({name: held.to(device) for name, held in group.items() if isinstance(held, Tensor)})

    def tensors(self) -> dict[str, Tensor]:
        """All that :meth:`restore` needs, by name."""
        state = self._optimizer.state.get(self.value, {})
        held = {f"dual.{name}": value for name, value in state.items() if isinstance(value, Tensor)}
        return {"multipliers": self.value, **held}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what :meth:`tensors` returned."""
        with torch.no_grad():
            self.value.copy_(tensors["multipliers"])
        self._optimizer.state.clear()
        held = {
            name.removeprefix("dual."): value.to(self.value.device).clone()
            for name, value in tensors.items()
            if name.startswith("dual.")
        }
        if held:
            self._optimizer.state[self.value] = held

    def _formulation(self, parts: int, device: torch.device) -> dict[str, Any]:
        if not self._augmentation:
            return {"formulation_type": cooper.formulations.Lagrangian}
        coefficient = torch.full((parts,), self._augmentation, dtype=torch.float64, device=device)
        return {
            "formulation_type": cooper.formulations.AugmentedLagrangian,
            "penalty_coefficient": cooper.penalty_coefficients.DensePenaltyCoefficient(coefficient),
        }


def _dual_optimizer(dual: str, multiplier: Tensor, lr: float, options: Mapping[str, Any]) -> torch.optim.Optimizer:
    if not isinstance(options, Mapping):
        raise SolverError(f"dual_options: expected a mapping of arguments of {dual}, found {shown(options)}")
    try:
        if dual == "sgd":
            return torch.optim.SGD([multiplier], lr=lr, maximize=True, **options)
        gains = {"Kp": 1.0, "Ki": 1.0, "ema_nu": 0.0} | dict(options)
        gains |= {name: torch.as_tensor(gains[name]).to(multiplier) for name in ("Kp", "Ki")}
        return cooper.optim.nuPI([multiplier], lr=lr, maximize=True, **gains)
    except (TypeError, ValueError, RuntimeError) as problem:
        raise SolverError(
            f"dual_options: {dual} does not take {shown(dict(options))}: {problem}; pass arguments of that optimizer"
        ) from problem
