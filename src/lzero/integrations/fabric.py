"""A budget in a loop of Lightning Fabric: ``solver = lzero.integrations.fabric.budget(fabric, model, 0.10, ...)``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from lzero.checks import shown
from lzero.constraints import Constraint
from lzero.cost import Measure
from lzero.errors import StructureError
from lzero.integrations.loop_solver import LoopSolver
from lzero.integrations.request import Build, Request
from lzero.solver.gate_trainer import Loss


def budget(
    fabric: Any,
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
) -> FabricSolver:
    """The solver of gates that are attached to ``model``, in place; before ``fabric.setup(model, optimizer)``.

    Its ``step()`` stands between ``fabric.backward(loss)`` and ``optimizer.step()``. All of its state rides in the
    state dict of ``model``: ``fabric.save(path, {"model": model, "optimizer": optimizer})`` has it.

    Args:
        fabric: the Fabric of the loop.
        model: the plain model, or one that has gates already.
        target_density: density of the whole model in (0, 1].
        example_inputs: a tensor, a tuple of positional or a dict of keyword arguments of one forward, or a Plan.
        total_steps: optimizer steps of the training.
        measure: what the density counts.
        constraints: several budgets, in place of a target density.
        solver: builds a solver or a baseline of your own: ``lambda gates, steps: lzero.Penalty(gates, 0.1)``.
        granularity: as for :func:`lzero.attach_gates`.
        ignore, round_to: as for :func:`lzero.attach_gates`.

    Raises:
        BudgetError: a malformed or infeasible budget.
        SolverError: a malformed ``solver``, or gates that were trained for something else.
        StructureError: no Fabric, or the model was set up by it already, or cannot be gated; it is then as it was.
    """
    request = Request(
        target_density, measure, constraints, solver, example_inputs, granularity, ignore, total_steps, round_to
    )
    strategy = getattr(fabric, "strategy", None)
    if not hasattr(strategy, "precision"):
        raise StructureError(f"fabric: expected a lightning.Fabric, found {shown(fabric)}")
    if "_forward_module" in getattr(model, "_modules", ()):
        raise StructureError(
            f"{type(model).__name__}: was set up already; call budget(fabric, model, ...) first, then "
            "model, optimizer = fabric.setup(model, optimizer)"
        )
    return FabricSolver(fabric, model, request)


class FabricSolver(LoopSolver):
    """A solver that knows the precision of its Fabric.

    Args:
        fabric: the Fabric of the loop.
        model: the plain model, or one that has gates already.
        request: the budget, and how gates are attached for it.
    """

    def __init__(self, fabric: Any, model: nn.Module, request: Request) -> None:
        super().__init__(model, request)
        self._fabric = fabric

    def step(self, loss: Loss | None = None, closure: Callable[[], Loss] | None = None) -> Tensor:
        """:meth:`lzero.Solver.step`, with the GradScaler of Fabric's precision where it has one.

        With ``precision="16-mixed"`` before ``optimizer.step()``, which changes the scale; otherwise anywhere between
        the backward and the next forward.
        """
        return self.solver.step(loss, closure, scaler=getattr(self._fabric.strategy.precision, "scaler", None))
