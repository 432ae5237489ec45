"""The evidence lower bound: a prior's pull on the gates, and whatever density it leads to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from lzero.cost import Measure
from lzero.errors import SolverError
from lzero.gates.gates import Gates
from lzero.solver.seam import Loss, Seam


@runtime_checkable
class _HasPrior(Protocol):
    def divergence(self, log_alpha: Tensor) -> Tensor: ...


class Elbo(Seam):
    """The variational objective behind the same seam: loss + w * KL(gates || prior) / examples, no target.

    Adds w * d(sum of divergences / N) / d log_alpha to the gates' gradient. Where the loss is the mean negative
    log-likelihood of a batch, the whole is -ELBO / N; w rises linearly from 0 to 1 over ``warm_up_steps`` (KL warm-up).
    With :class:`lzero.gates.LogNormal` gates it is structured Bayesian pruning as published (arXiv 1705.07283).

    Args:
        gates: what ``attach_gates`` returned, with an estimator that has a prior: ``estimator=LogNormal()``.
        examples: N >= 1, the size of the training set.
        warm_up_steps: optimizer steps until the prior has its full weight; 0 for all of the training.
        measure: what ``metrics()`` counts: ``"params"``, ``"macs"`` or ``"gates"``.

    Raises:
        SolverError: gates without a prior, or numbers that are not whole or too small.
    """

    def __init__(self, gates: Gates, examples: int, *, warm_up_steps: int = 0, measure: Measure = "params") -> None:
        _check_whole("examples", examples, 1, "the size of the training set")
        _check_whole("warm_up_steps", warm_up_steps, 0, "a number of optimizer steps")
        super().__init__(gates, measure)
        if not isinstance(gates.estimator, _HasPrior):
            raise SolverError(
                f"Elbo: {type(gates.estimator).__name__} gates have no divergence from a prior; attach gates with "
                "estimator=LogNormal(), or use lzero.Penalty or lzero.Solver"
            )
        self._prior: _HasPrior = gates.estimator
        self.examples = examples
        self.warm_up_steps = warm_up_steps
        gates.budgets = ()

    @property
    def weight(self) -> float:
        """w of the next step, in [0, 1]."""
        return min(self.steps / self.warm_up_steps, 1.0) if self.warm_up_steps else 1.0

    def step(self, loss: Loss | None = None, closure: Callable[[], Loss] | None = None) -> None:
        """Add the prior's pull to the gates' gradient; between backward and step, and as ``Solver.step``."""
        self.loss_gradient(loss, closure)
        divergence = self._prior.divergence(self.gates.log_alpha).sum()
        (self.weight / self.examples * divergence).backward()  # type: ignore[no-untyped-call]
        self.steps += 1

    def metrics(self) -> dict[str, float]:
        """Expected and deployed density; ``divergence``, summed over the gates, in nats; w as ``multiplier``.

        ``multiplier_loss_units`` is w / N.
        """
        with torch.no_grad():
            divergence = float(self._prior.divergence(self.gates.log_alpha).double().sum())
        return {
            **super().metrics(),
            "multiplier": self.weight,
            "multiplier_loss_units": self.weight / self.examples,
            "divergence": divergence,
        }

    def state_dict(self) -> dict[str, Any]:
        """Steps, examples and warm-up."""
        return {"steps": self.steps, "examples": self.examples, "warm_up_steps": self.warm_up_steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``.

        Raises:
            SolverError: it is not an Elbo's. Nothing is changed then.
        """
        if not {"steps", "examples", "warm_up_steps"} <= state.keys():
            raise SolverError(f"Elbo: expected the entries steps, examples and warm_up_steps, found {list(state)}")
        self.steps = int(state["steps"])
        self.examples = int(state["examples"])
        self.warm_up_steps = int(state["warm_up_steps"])


def _check_whole(name: str, value: object, smallest: int, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
        raise SolverError(f"{name}: expected {what}, a whole number >= {smallest}, found {value!r}")
