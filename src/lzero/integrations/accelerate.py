"""A budget in a loop of accelerate: ``solver = lzero.integrations.accelerate.budget(accelerator, model, 0.1, ...)``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from lzero.checks import shown
from lzero.constraints import Constraint
from lzero.cost import Measure
from lzero.errors import SolverError
from lzero.integrations.loop_solver import LoopSolver
from lzero.integrations.request import Build, Request
from lzero.solver.gate_trainer import Loss


def budget(
    accelerator: Any,
    model: nn.Module,
    target_density: float | None = None,
    *,
    example_inputs: object,
    total_steps: int,
    measure: Measure = "params",
    constraints: Sequence[Constraint] | None = None,
    solver: Build | None = None,
    granularity: str | Mapping[str, str] = "unit",
    ignore: str | Iterable[str] = (),
    round_to: int | Mapping[str, int] | None = None,
) -> AccelerateSolver:
    """The solver of gates that are attached to ``model``, in place; before ``accelerator.prepare(model, ...)``.

    Its ``step()`` stands beside ``optimizer.step()``, also within ``accelerator.accumulate(model)``. All of its state
    rides in the state dict of ``model``: ``accelerator.save_state`` and ``load_state`` have it.

    Args:
        accelerator: the Accelerator of the loop.
        model: the plain model, or one that has gates already.
        target_density: density of the whole model in (0, 1].
        example_inputs: a tensor, a tuple of positional or a dict of keyword arguments of one forward, or a Plan.
        total_steps: optimizer steps of the training: updates, and not batches.
        measure: what the density counts.
        constraints: several budgets, in place of a target density.
        solver: builds a solver or a baseline of your own: ``lambda gates, steps: lzero.Penalty(gates, 0.1)``.
        granularity: as for :func:`lzero.attach_gates`.
        ignore, round_to: as for :func:`lzero.attach_gates`.

    Raises:
        BudgetError: a malformed or infeasible budget.
        SolverError: no Accelerator, a malformed ``solver``, or gates that were trained for something else.
        StructureError: the model is wrapped already, or cannot be gated; it is then as it was.
    """
    if not hasattr(accelerator, "sync_gradients"):
        raise SolverError(f"accelerator: expected an accelerate.Accelerator, found {shown(accelerator)}")
    request = Request(
        target_density, measure, constraints, solver, example_inputs, granularity, ignore, total_steps, round_to
    )
    return AccelerateSolver(accelerator, model, request)


class AccelerateSolver(LoopSolver):
    """A solver that knows when its Accelerator steps, and by what it scales the loss.

    Args:
        accelerator: the Accelerator of the loop.
        model: the plain model, or one that has gates already.
        request: the budget, and how gates are attached for it.
    """

    def __init__(self, accelerator: Any, model: nn.Module, request: Request) -> None:
        super().__init__(model, request)
        self._accelerator = accelerator

    def step(self, loss: Loss | None = None, closure: Callable[[], Loss] | None = None) -> Tensor | None:
        """:meth:`lzero.Solver.step`; between ``accelerator.backward(loss)`` and ``optimizer.step()``.

        Returns:
            Whether it stepped, bool []; None where gradients are still being accumulated, and nothing is done.

        Raises:
            SolverError: an estimator that needs a loss, while gradients are accumulated.
        """
        if loss is not None and self._accelerator.gradient_accumulation_steps > 1:
            raise SolverError(
                "step(loss): gradients are accumulated over several losses; call gates.score(loss) after each "
                "backward, and step() without arguments"
            )
        if not self._accelerator.sync_gradients:
            return None
        return self.solver.step(loss, closure, scaler=self._accelerator.scaler)
