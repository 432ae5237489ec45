"""The evidence lower bound: a prior's pull on the gates, and whatever density it leads to."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from lzero.checks import choice, whole
from lzero.cost import COUNTED, Measure
from lzero.errors import BudgetError, SolverError
from lzero.gates.gates import Gates
from lzero.solver.arguments import checked_gates
from lzero.solver.gate_optimizer import checked_gate_lr
from lzero.solver.gate_trainer import GateTrainer

_SIZE = "the size of the training set, a whole number >= 1"
_STEPS = "a number of optimizer steps, a whole number >= 0"


@runtime_checkable
class _HasPrior(Protocol):
    def divergence(self, log_alpha: Tensor) -> Tensor: ...


class Elbo(GateTrainer):
    """The variational objective behind the same ``step()``: loss + w * KL(gates || prior) / examples, no target.

    Adds w * d(sum of divergences / N) / d log_alpha to the gates' gradient. Where the loss is the mean negative
    log-likelihood of a batch, the whole is -ELBO / N; w rises linearly from 0 to 1 over ``warm_up_steps`` (KL warm-up).
    With :class:`lzero.gates.LogNormal` gates it is structured Bayesian pruning as published (arXiv 1705.07283).

    Args:
        gates: what ``attach_gates`` returned, with an estimator that has a prior: ``estimator=LogNormal()``.
        examples: N >= 1, the size of the training set.
        warm_up_steps: optimizer steps until the prior has its full weight; 0 for all of the training.
        measure: what ``metrics()`` counts: ``"params"``, ``"macs"`` or ``"gates"``.
        total_steps: of the training, where known, for the default of ``gate_lr``.
        gate_lr, optimizer, fresh: as for :class:`lzero.Solver`.

    Raises:
        SolverError: gates without a prior, or numbers that are not whole or too small.
    """

    def __init__(
        self,
        gates: Gates,
        examples: int,
        *,
        warm_up_steps: int = 0,
        measure: Measure = "params",
        total_steps: int | None = None,
        gate_lr: float | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        fresh: bool = False,
    ) -> None:
        gates = checked_gates("Elbo", gates)
        choice("measure", measure, COUNTED, error=BudgetError)
        count = whole("examples", examples, least=1, expected=_SIZE, error=SolverError)
        warm_up = whole("warm_up_steps", warm_up_steps, least=0, expected=_STEPS, error=SolverError)
        if not isinstance(gates.estimator, _HasPrior):
            raise SolverError(
                f"Elbo: {type(gates.estimator).__name__} gates have no divergence from a prior; attach gates with "
                "estimator=LogNormal(), or use lzero.Penalty or lzero.Solver"
            )
        super().__init__(
            gates,
            measure,
            asked={"examples": count, "warm_up_steps": warm_up},
            gate_lr=checked_gate_lr(gate_lr, total_steps),
            optimizer=optimizer,
            fresh=fresh,
        )
        self._prior: _HasPrior = gates.estimator
        self.examples, self.warm_up_steps = count, warm_up
        self._begin()

    @property
    def weight(self) -> float:
        """w of the next step, in [0, 1]."""
        return min(self.steps / self.warm_up_steps, 1.0) if self.warm_up_steps else 1.0

    def _pull(self, gradient: Tensor, norm: Tensor, finite: Tensor | None) -> None:
        with torch.enable_grad():
            log_alpha = self.gates.log_alpha.detach().requires_grad_()
            (pull,) = torch.autograd.grad(self._prior.divergence(log_alpha).sum(), log_alpha)
        gradient.add_(pull, alpha=self.weight / self.examples)

    def metrics(self) -> dict[str, float]:
        """Expected and deployed density; ``divergence``, summed over the gates, in nats; w as ``multiplier``.

        ``multiplier_loss_units`` is w / N.
        """
        row = super().metrics()
        with torch.no_grad():
            divergence = float(self._prior.divergence(self.gates.log_alpha).double().sum())
        return {
            **row,
            "multiplier": self.weight,
            "multiplier_loss_units": self.weight / self.examples,
            "divergence": divergence,
        }
