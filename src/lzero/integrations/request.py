"""What a callback is asked for, before there are a model, inputs and a number of steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from lzero.attach import attach_gates
from lzero.checks import shown
from lzero.constraints import Budgets, Constraint, as_constraints
from lzero.cost import Measure
from lzero.discover import discover
from lzero.errors import SolverError, StructureError
from lzero.gates.gates import Gates
from lzero.plan.plan import Plan
from lzero.plan.widths import checked_round_to
from lzero.solver.gate_trainer import GateTrainer
from lzero.solver.solver import Solver
from lzero.surgery.attached import gates_of

Build = Callable[[Gates, int], GateTrainer]
"""Builds a solver or a baseline for gates, and a number of optimizer steps."""


@dataclass(frozen=True)
class Request:
    """A budget, and how to attach gates for it: what every integration takes from its user.

    Attributes:
        target_density: density of the whole model in (0, 1]; or None where ``constraints`` or ``solver`` say more.
        measure: what the density counts.
        constraints: several budgets, in place of a target density.
        solver: builds the user's own solver or baseline (``lambda gates, steps: lzero.Penalty(gates, 0.1)``), in place
            of a budget.
        example_inputs: as :func:`lzero.attach_gates` takes them, or a Plan; None lets the integration find some.
        granularity: as for :func:`lzero.attach_gates`.
        ignore: as for :func:`lzero.attach_gates`.
        total_steps: optimizer steps of the training; None lets the integration ask its framework.
        round_to: as for :func:`lzero.attach_gates`.

    Raises:
        BudgetError: a malformed budget, or none and no ``solver``.
        SolverError: a ``solver`` beside a budget, or one that cannot be called.
        StructureError: a malformed ``round_to``.
    """

    target_density: float | None = None
    measure: Measure = "params"
    constraints: Sequence[Constraint] | None = None
    solver: Build | None = None
    example_inputs: object = None
    granularity: str | Mapping[str, str] = "unit"
    ignore: str | Iterable[str] = ()
    total_steps: int | None = None
    round_to: int | Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        if self.round_to is not None:
            checked_round_to(self.round_to)
        if self.solver is None:
            as_constraints("Budget", self.target_density, self.measure, self.constraints)
        elif self.target_density is not None or self.constraints is not None:
            raise SolverError("Budget: solver= brings a budget of its own; give one of the two")
        elif not callable(self.solver) or isinstance(self.solver, GateTrainer):
            raise SolverError(
                "solver: expected a function of gates and a number of steps, such as "
                f"lambda gates, steps: lzero.Penalty(gates, 0.1), found {shown(self.solver)}"
            )

    def attach(self, model: nn.Module, example_inputs: Any = None) -> Gates:
        """The gates that ``model`` has already, or new ones; the user's own inputs come before ``example_inputs``.

        Raises:
            StructureError: no inputs, or the model cannot be gated.
            BudgetError: the budget cannot be met.
        """
        gates = gates_of(model)
        if gates is not None:
            return gates
        inputs = example_inputs if self.example_inputs is None else self.example_inputs
        if inputs is None:
            raise StructureError(
                f"{type(model).__name__}: no inputs to attach gates with; pass Budget(..., example_inputs=...), what "
                "one forward of the model takes: a tensor, a tuple of positional or a dict of keyword arguments"
            )
        if self.solver is None and not isinstance(inputs, Plan):
            inputs = discover(model, inputs, granularity=self.granularity, ignore=self.ignore)
            if self.round_to is not None:
                inputs = replace(inputs, round_to=self.round_to)
            if inputs.groups:  # what cannot be met is refused before anything changes
                Budgets(self._constraints, Gates(inputs), "Budget")
            return attach_gates(model, inputs)
        how: Any = {"granularity": self.granularity, "ignore": self.ignore, "round_to": self.round_to}
        return attach_gates(model, inputs, **how)

    @property
    def _constraints(self) -> tuple[Constraint, ...]:
        return tuple(as_constraints("Budget", self.target_density, self.measure, self.constraints))

    def start(self, gates: Gates, total_steps: int | None = None) -> GateTrainer:
        """The solver of ``gates``, for as many optimizer steps as the user said, or else ``total_steps``.

        Raises:
            SolverError: no number of steps is known, or ``solver`` returned something else.
            BudgetError: the budget cannot be met.
        """
        steps = total_steps if self.total_steps is None else self.total_steps
        if steps is None:
            raise SolverError(
                "the number of optimizer steps of this training is not known beforehand: pass "
                "Budget(..., total_steps=...)"
            )
        if self.solver is None:
            return Solver(gates, constraints=self._constraints, total_steps=steps)
        trainer = self.solver(gates, steps)
        if not isinstance(trainer, GateTrainer):
            raise SolverError(f"solver: expected it to return a Solver or a baseline, found {shown(trainer)}")
        return trainer


def prefixed(trainer: GateTrainer) -> dict[str, float]:
    """One row of :meth:`GateTrainer.metrics` as loggers like it: ``lzero/deployed``, ``lzero/multiplier``, ..."""
    return {f"lzero/{name}": value for name, value in trainer.metrics().items()}
