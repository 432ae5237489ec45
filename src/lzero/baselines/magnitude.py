"""Pruning by magnitude behind the step of the solver: gradual or at once, units, inputs or weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from lzero.baselines.scores import lamp_scores, magnitude_scores, random_scores
from lzero.checks import choice, real, whole
from lzero.constraints import Budgets, Constraint, as_constraints
from lzero.cost import Measure
from lzero.errors import SolverError
from lzero.gates.gates import Gates
from lzero.gates.mask import Mask
from lzero.settle import fill
from lzero.solver.arguments import checked_gates
from lzero.solver.gate_trainer import GateTrainer
from lzero.solver.schedule import cubic, step_count
from lzero.surgery.attached import draws

Criterion = Literal["magnitude", "lamp", "random"]
Schedule = Literal["cubic", "one-shot"]
_CRITERIA, _SCHEDULES = ("magnitude", "lamp", "random"), ("cubic", "one-shot")
_OPEN_RANKS, _CLOSED_RANKS = (0.95, 0.55), (0.45, 0.05)  # sigmoid(log_alpha) from the best gate to the worst


class Magnitude(GateTrainer):
    """Magnitude pruning in the loop of :class:`lzero.Solver`: the gates are masks, ranked and not trained.

        gates = lzero.attach_gates(model, x, estimator=lzero.gates.Mask())
        magnitude = Magnitude(gates, 0.1, model=model, total_steps=10_000)

    Every ``every`` steps from ``begin`` to ``end`` of the training all gates are ranked, and the best stay open: the
    largest set, best first, that meets the budget of that moment, with at least one unit left in every layer. With
    t = (step - first) / (last - first), a target density d, and sparsity rising as in Zhu, Gupta, arXiv 1710.01878:

        budget of the moment = d + (1 - d) (1 - t)^3

    Between updates the mask is constant; after the last one, which is final, what follows is fine-tuning. ``purge``
    then ships the same set. What is closed keeps its weights, which have no gradient of the loss while it is (momentum
    and weight decay of the optimizer still move them), is ranked by them at the next update, and may come back.

    Budgets are those of the solver: a constraint with ``each_layer`` prunes layer by layer, to one density, where
    the whole model ranks all its layers together.

    Args:
        gates: what ``attach_gates`` returned, with ``estimator=Mask()``.
        target_density: shorthand for ``constraints=[Constraint(target_density, measure)]``.
        measure: of the shorthand: ``"params"``, ``"macs"`` or ``"gates"``.
        constraints: one or several budgets that hold at once.
        model: the model that the gates were attached to, whose weights are ranked.
        total_steps: optimizer steps of the whole training.
        criterion: ``"magnitude"`` (:func:`lzero.baselines.magnitude_scores`), ``"lamp"``
            (:func:`lzero.baselines.lamp_scores`), or ``"random"``: scores drawn once.
        schedule: ``"cubic"``, or ``"one-shot"``: a single update, at ``begin``.
        begin: of the updates, as a share of ``total_steps``; by default 0, and 1/2 for ``"one-shot"``.
        end: of the updates, as a share of ``total_steps``; 1/2 by default, none for ``"one-shot"``.
        every: steps between two updates.
        seed: of the random scores.
        fresh: begin anew on gates that have been trained for something else.

    Raises:
        BudgetError: a malformed or infeasible budget; the message has the smallest feasible density.
        SolverError: gates of another estimator or another model, or arguments that do not fit together.
    """

    trains: ClassVar[bool] = False

    def __init__(
        self,
        gates: Gates,
        target_density: float | None = None,
        *,
        measure: Measure = "params",
        constraints: Sequence[Constraint] | None = None,
        model: nn.Module,
        total_steps: int,
        criterion: Criterion = "magnitude",
        schedule: Schedule = "cubic",
        begin: float | None = None,
        end: float | None = None,
        every: int = 100,
        seed: int = 0,
        fresh: bool = False,
    ) -> None:
        gates = checked_gates("Magnitude", gates)
        asked = as_constraints("Magnitude", target_density, measure, constraints)
        _check_gates(gates, model)
        choice("criterion", criterion, _CRITERIA, error=SolverError)
        first, last = _updates(total_steps, schedule, begin, end)
        every = step_count("every", every)
        seed = whole("seed", seed, least=0, expected="a whole number >= 0", error=SolverError)
        budgets = Budgets(asked, gates, "Magnitude")
        super().__init__(
            gates,
            asked[0].measure,
            constraints=asked,
            asked={"criterion": criterion, "seed": seed, "first": first, "last": last, "every": every},
            fresh=fresh,
        )
        self.constraints, self.budgets = asked, budgets
        self._first, self._last = first, last
        self._model, self._criterion, self._every = model, criterion, every
        self._random = random_scores(gates, seed) if criterion == "random" else None
        self._begin()

    def _choose(self) -> None:
        if self._latest(self.steps) == self.steps:
            self._update()

    def scores(self) -> Tensor:
        """What every gate is worth now, float64 [G]: the largest are kept."""
        if self._random is not None:
            return self._random
        magnitude = magnitude_scores(self.gates, self._model)
        return lamp_scores(self.gates, magnitude) if self._criterion == "lamp" else magnitude

    def annealed(self, targets: Tensor) -> Tensor:
        """What stands of ``targets`` since the last update, shaped as they are; 1 before the first."""
        progress = self._progress(self.steps - 1)
        return targets.new_tensor([cubic(target, progress) for target in targets.tolist()])

    def metrics(self) -> dict[str, float]:
        """One row of plain floats for a Recorder, evaluated now.

        ``deployed`` is the whole model's density in the first budget's measure, and ``expected`` the same. ``target``
        and ``annealed_target`` (of the last update) follow; with several parts each of them once a part, as
        ``name:column``.
        """
        row = super().metrics()
        row["expected"] = row["deployed"]
        targets = self.budgets.targets
        for column, values in (("target", targets), ("annealed_target", self.annealed(targets))):
            named = self.budgets.named(values)
            row |= {column if len(named) == 1 else f"{name}:{column}": value for name, value in named.items()}
        return row

    @torch.no_grad()
    def _update(self) -> None:
        """The mask of this moment: the best gates that fit, their ranks as log_alpha on both sides of 1/2."""
        log_alpha, order = self.gates.log_alpha, torch.argsort(self.scores(), descending=True, stable=True)
        progress, asked = self._progress(self.steps), self.budgets.targets
        targets = asked.new_tensor([cubic(target, progress) for target in asked.tolist()])
        priority = torch.empty(len(order), dtype=torch.float64, device=order.device)
        priority[order] = torch.linspace(1, 0, len(order), dtype=torch.float64, device=order.device)
        keep = fill(priority, self.budgets, self.gates.masks, targets)[order]
        for side, where in ((_OPEN_RANKS, keep), (_CLOSED_RANKS, ~keep)):
            log_alpha[order[where]] = _spread(int(where.sum()), side, log_alpha)

    def _latest(self, step: int) -> int:
        """The step of the last update up to ``step``, -1 before the first."""
        if step < self._first:
            return -1
        return self._last if step >= self._last else step - (step - self._first) % self._every

    def _progress(self, step: int) -> float:
        """How far the target had fallen at the last update up to ``step``, in [0, 1]."""
        latest = self._latest(step)
        if latest < 0:
            return 0.0
        return (latest - self._first) / (self._last - self._first) if latest < self._last else 1.0


def _spread(count: int, ends: tuple[float, float], like: Tensor) -> Tensor:
    """``count`` falling values whose sigmoids are evenly spaced from one of ``ends`` to the other.

    In single precision about 7 million of them are distinct; beyond, neighbours in rank may be ties.
    """
    return torch.linspace(*ends, count, dtype=torch.float64, device=like.device).logit().to(like.dtype)


def _updates(total_steps: int, schedule: str, begin: float | None, end: float | None) -> tuple[int, int]:
    """The steps of the first and of the last update."""
    total_steps = step_count("total_steps", total_steps)
    choice("schedule", schedule, _SCHEDULES, error=SolverError)
    once = schedule == "one-shot"
    if once and end is not None:
        raise SolverError(f"end: a one-shot schedule prunes at begin; leave end out, found {end!r}")
    begin = (0.5 if once else 0.0) if begin is None else begin
    end = (begin if once else 0.5) if end is None else end
    expected = "a share of total_steps in [0, 1]"
    begin, end = (
        real(name, share, least=0, most=1, expected=expected, error=SolverError)
        for name, share in (("begin", begin), ("end", end))
    )
    if begin > end:
        raise SolverError(f"begin: expected a share no larger than end, found begin {begin!r} and end {end!r}")
    first, last = (min(round(share * total_steps), total_steps - 1) for share in (begin, end))
    return first, last


def _check_gates(gates: Gates, model: nn.Module) -> None:
    if not isinstance(gates.estimator, Mask):
        raise SolverError(
            f"Magnitude: expected gates that are masks, found {type(gates.estimator).__name__}; attach them with "
            "lzero.attach_gates(model, inputs, estimator=lzero.gates.Mask())"
        )
    if not isinstance(model, nn.Module) or not draws(model, gates):
        raise SolverError(
            f"Magnitude: the gates are not those of this {type(model).__name__}; pass model= the module that "
            "attach_gates was given"
        )
