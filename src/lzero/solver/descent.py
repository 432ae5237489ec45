"""One training that comes by several densities on its way down, and can ship a certified model at each."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from lzero.checks import flag, shown
from lzero.constraint_record import KIND, from_tensor, to_json, to_tensor
from lzero.constraints import Budgets, Constraint, as_constraints
from lzero.cost import Measure
from lzero.errors import BudgetError, LzeroWarning, SolverError
from lzero.gates.gates import Gates
from lzero.latency.packed import TABLES
from lzero.solver.arguments import checked_gates
from lzero.solver.gate_trainer import Loss
from lzero.solver.processes import Processes
from lzero.solver.schedule import step_count, warn_of_few
from lzero.solver.stage import DescentStage

Constraints = tuple[Constraint, ...]


class Descent:
    """Several densities from one training: a Solver after the other on the same gates, behind the same ``step()``::

        descent = lzero.Descent(gates, [0.5, 0.25, 0.1], total_steps=epochs * len(loader))
        for x, y in loader:
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            descent.step()
            optimizer.step()
            if descent.due:  # the last step of a stage: what it was asked for can be shipped
                lzero.save_purged(lzero.purge(model), f"small-{descent.stage}")

    In each stage the target falls from that of the stage before to its own, over the first half; in its last fifth the
    deployed set is settled and held, as in a whole training (``finetune``). Then gates are drawn again, with an Adam
    and multipliers that begin anew, and the next stage goes on from these weights. The first step of a later stage
    finds a forward of held gates, and moves none.

    What is shipped is the user's to keep: all else rides in the model's state dict. A rate of the weights that falls to
    0 once leaves little for the last stages: let it fall in each (:attr:`progress`).

    Args:
        gates: what ``attach_gates`` returned.
        targets: one a stage, the largest first: a density of the whole model, or a list of constraints; those of all
            stages are the same but for their targets, none of which rises.
        measure: of densities: ``"params"``, ``"macs"`` or ``"gates"``.
        total_steps: optimizer steps of the whole training, shared out equally; or of every stage, as a list.
        finetune, gate_lr, dual_lr: as for :class:`lzero.Solver`, of every stage.
        fresh: begin a new training on gates that have been trained, from the density that they have come to.
        process_group: of ``torch.distributed``; None for the default group.

    Example:
        >>> import lzero
        >>> from torch import nn, zeros
        >>> gates = lzero.attach_gates(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)), zeros(1, 8))
        >>> descent = lzero.Descent(gates, [0.5, 0.25], total_steps=2000)
        >>> descent.stage, descent.due, descent.progress
        (0, False, 0.0)

    Raises:
        BudgetError: a malformed or infeasible budget, or stages that do not descend.
        SolverError: numbers of steps that do not fit, or gates that have been trained for something else.

    Warns:
        LzeroWarning: a stage of fewer steps than gates can follow.
    """

    def __init__(
        self,
        gates: Gates,
        targets: Sequence[float | Sequence[Constraint]],
        *,
        measure: Measure = "params",
        total_steps: int | Sequence[int],
        finetune: float | None = None,
        gate_lr: float | None = None,
        dual_lr: float | None = None,
        fresh: bool = False,
        process_group: Any = None,
    ) -> None:
        self._gates = checked_gates("Descent", gates)
        self._stages = _checked(targets, measure)
        budgets = [Budgets(stage, gates, f"Descent, stage {number}") for number, stage in enumerate(self._stages)]
        first = _start(budgets[0], gates, flag("fresh", fresh, error=SolverError))
        self._starts = [first, *(budget.targets for budget in budgets)]
        self._lengths = _lengths(total_steps, len(self._stages))
        warn_of_few(min(self._lengths), stacklevel=2, name="total_steps, of a stage")
        self._options = {
            "finetune": finetune, "gate_lr": gate_lr, "dual_lr": dual_lr, "process_group": process_group
        }  # fmt: skip
        stages = [to_json(stage) for stage in self._stages]
        what = {KIND: "Descent", "constraints": (), "stages": stages, "steps": self._lengths}
        self._course, self._processes = to_tensor(what), Processes(process_group)
        self._enter(0 if fresh else self._found(), fresh=fresh)

    @property
    def gates(self) -> Gates:
        """The gates that it trains."""
        return self._gates

    @property
    def stages(self) -> tuple[Constraints, ...]:
        """What each stage is asked for."""
        return self._stages

    @property
    def stage(self) -> int:
        """The number of the current stage, from 0."""
        self._look()
        return self._number

    @property
    def constraints(self) -> Constraints:
        """What the current stage is asked for, and :func:`lzero.purge` ships."""
        return self._stages[self.stage]

    @property
    def due(self) -> bool:
        """Whether a stage has just ended, and what the model is now can be purged, until the next forward."""
        self._look()
        return self._solver.steps == self._length

    @property
    def progress(self) -> float:
        """How much of the current stage is over, in [0, 1]."""
        self._look()
        return min(1.0, (self._solver.steps + (self._number > 0)) / self._lengths[self._number])

    @property
    def steps(self) -> int:
        """How many steps have been taken in all stages, skipped ones included."""
        self._look()
        return sum(self._lengths[: self._number]) + (self._number > 0) + self._solver.steps

    @property
    def multipliers(self) -> dict[str, float]:
        """lambda of every part in the current stage, by name; 1 is as strong as the loss."""
        self._look()
        return self._solver.multipliers

    def step(
        self, loss: Loss | None = None, closure: Callable[[], Loss] | None = None, *, scaler: Any = None
    ) -> Tensor:
        """One step of the gates, as :meth:`lzero.Solver.step`; after a stage has ended, the first of the next one."""
        self._processes.agree(self._gates)
        over = self.due and self._number + 1 < len(self._stages)
        stepped = self._solver.step(loss, closure, scaler=scaler)
        if over:
            self._enter(self._number + 1, fresh=True)
        return stepped

    def metrics(self) -> dict[str, float]:
        """One row of plain floats for a Recorder: that of the stage's Solver, and ``stage``."""
        self._look()
        return {**self._solver.metrics(), "stage": float(self._number)}

    @property
    def _length(self) -> int:
        """Steps of the current stage's Solver: the first one of a later stage still belongs to the one before."""
        return self._lengths[self._number] - (self._number > 0)

    def _look(self) -> None:
        """Take up a state dict that has been loaded, of whichever stage it is."""
        if self._gates.ledger.waiting:
            self._enter(self._found(), fresh=False)

    def _found(self) -> int:
        """The stage that the gates have come to; the first one where they come from elsewhere."""
        left = self._gates.ledger.latest
        if "course" not in left or not torch.equal(left["course"].cpu(), self._course):
            return 0
        asked = from_tensor(left["asked"], left.get(TABLES))["constraints"]
        return self._stages.index(asked) if asked in self._stages else 0

    def _enter(self, number: int, *, fresh: bool) -> None:
        self._number = number
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LzeroWarning)  # of few steps, which has been said
            self._solver = DescentStage(
                self._gates,
                self._stages[number],
                self._starts[number],
                self._course,
                total_steps=self._length,
                fresh=fresh,
                **self._options,
            )

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_"):
            raise SolverError(
                f"Descent.{name}: what a training is for stays as it is; build another one with fresh=True to go on "
                "with other values"
            )
        object.__setattr__(self, name, value)


def _checked(targets: object, measure: Measure) -> tuple[Constraints, ...]:
    if not isinstance(targets, Sequence) or isinstance(targets, str | bytes) or not targets:
        raise BudgetError(f"Descent: expected targets=[0.5, 0.25, ...], the largest first, found {shown(targets)}")
    found = []
    for target in targets:
        several = isinstance(target, Constraint | Sequence) and not isinstance(target, str | bytes)
        found.append(
            as_constraints("Descent", None, "params", target)
            if several
            else as_constraints("Descent", target, measure, None)
        )
    for number, (before, after) in enumerate(pairwise(found), 1):
        kinds = [[{**entry, "target": None} for entry in to_json(stage)] for stage in (before, after)]
        if kinds[0] != kinds[1]:
            raise BudgetError(
                f"Descent: the constraints of stage {number} are not those of stage {number - 1} with other targets: "
                "give all stages the same parts and measures, in the same order"
            )
        pairs = [(one.target, two.target) for one, two in zip(before, after, strict=True)]
        if any(two > one for one, two in pairs) or all(two == one for one, two in pairs):
            falls = ", ".join(f"{one:g} to {two:g}" for one, two in pairs)
            raise BudgetError(f"Descent: stage {number} does not descend ({falls}); give the largest targets first")
    return tuple(found)


def _start(budgets: Budgets, gates: Gates, fresh: bool) -> Tensor:
    """Where the first target falls from, [K]: 1, or what an earlier training has left open."""
    if fresh and "steps" in gates.ledger.latest and int(gates.ledger.latest["steps"][0]):
        return torch.maximum(budgets.cost.fraction(gates.open_mask()), budgets.targets)
    return torch.ones_like(budgets.targets)


def _lengths(total_steps: object, stages: int) -> tuple[int, ...]:
    """Steps of every stage, two at least."""
    if isinstance(total_steps, Sequence) and not isinstance(total_steps, str | bytes):
        found = tuple(step_count(f"total_steps[{number}]", steps) for number, steps in enumerate(total_steps))
        if len(found) != stages:
            raise SolverError(f"total_steps: expected one number for each of {stages} stages, found {len(found)}")
    else:
        total = step_count("total_steps", total_steps)
        ends = [total * number // stages for number in range(stages + 1)]
        found = tuple(after - before for before, after in pairwise(ends))
    if min(found) < 2:
        raise SolverError(f"total_steps: expected at least 2 steps for each of {stages} stages, found {list(found)}")
    return found
