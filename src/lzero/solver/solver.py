"""The constrained solver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from lzero.checks import flag
from lzero.constraints import Budgets, Constraint, as_constraints
from lzero.cost import Measure
from lzero.errors import SolverError
from lzero.gates.gates import Gates
from lzero.settle import settle
from lzero.solver.arguments import checked_gates
from lzero.solver.compacts import Compacts, checked_compaction
from lzero.solver.dual import Multipliers, default_dual_lr
from lzero.solver.gate_optimizer import checked_gate_lr
from lzero.solver.gate_trainer import GateTrainer
from lzero.solver.schedule import Schedule, cubic, schedule_of, timetable, warn_of_few
from lzero.solver.strength import per_gate, strength

_NORM_MEMORY = 0.99  # of the running mean of the loss gradient's norm
_TINY = 1e-30


class Solver(GateTrainer):
    """The constrained solver: adds lambda u d(cost)/d(gates) to the gates' gradient, moves them, ascends on lambda.

    For a part of the model with expected cost fraction c(p), deployed fraction c(open gates) and target e_t::

        primal:  log_alpha.grad += lambda u d c(p) / d log_alpha,   u = EMA(|d loss|) / |d c|   (norms over log_alpha)
        dual:    lambda <- lambda + dual_lr (c(open gates) - e_t) / e_t,  then 0 where the two disagree in sign

    so that lambda answers to what will be shipped, and lambda = 1 is as strong as the loss, whatever its scale; the
    violation is relative, since one point too much weighs more at 5 % than at 80 %. A single budget is held from both
    sides: what closed too much is opened again by a negative lambda (the loss alone seldom does: closed gates get
    almost no gradient). Where several parts have budgets, which need not be met at once, lambda >= 0.

    Args:
        gates: what ``attach_gates`` returned.
        target_density: shorthand for ``constraints=[Constraint(target_density, measure)]``.
        measure: of the shorthand: ``"params"``, ``"macs"`` or ``"gates"``.
        constraints: one or several budgets that hold at once.
        total_steps: optimizer steps of the whole training; the target anneals over the first half.
        anneal_steps: length of the annealing, or alone where the end is open.
        finetune: share of ``total_steps``, at the end, in which the deployed set is settled and held, so that weights
            and statistics see what is shipped; by default 0.2, and 0 without ``total_steps`` (``figures/settling.md``).
        gate_lr: rate of the gates' Adam; by default 100 / total_steps, from 0.02 to 0.2.
        optimizer: one of your own over ``[gates.log_alpha]``, in place of that Adam.
        schedule: ``"cubic"``, ``"fixed"`` or a function (target, progress in [0, 1]) -> annealed target.
        dual_lr: step size of the ascent; by default 0.01, and 20 / anneal_steps (at most 0.15) where that is more.
        dual: ``"sgd"`` (plain ascent) or ``"nupi"`` (proportional-integral control, cooper's nuPI).
        dual_options: further arguments of the dual optimizer (``Kp``, ``Ki``, ``momentum``).
        restarts: set lambda to 0 where its sign and that of the violation disagree (dual restarts, arXiv 2208.04425,
            section 3); by default with ``"sgd"`` only.
        two_sided: let lambda be negative below the target; by default where there is a single part.
        scale: make lambda scale-free by u, and violations relative; False leaves both as they are.
        augmentation: coefficient of cooper's augmented Lagrangian, or 0.
        compaction: a :class:`lzero.Compaction`: units whose gates are closed for good leave the model on the way.
        fresh: begin a new training on gates that have been trained for something else.
        process_group: of ``torch.distributed``; None for the default one.

    Example:
        >>> import lzero
        >>> from torch import nn, zeros
        >>> gates = lzero.attach_gates(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)), zeros(1, 8))
        >>> solver = lzero.Solver(gates, target_density=0.5, total_steps=1000)
        >>> solver.target_density, solver.settles_at
        (0.5, 800)

    Raises:
        BudgetError: a malformed or infeasible budget; the message has the smallest feasible density.
        SolverError: arguments that do not fit together, or gates that have been trained for another budget or length.

    Warns:
        LzeroWarning: fewer ``total_steps`` than gates can follow.
    """

    def __init__(
        self,
        gates: Gates,
        target_density: float | None = None,
        *,
        measure: Measure = "params",
        constraints: Sequence[Constraint] | None = None,
        total_steps: int | None = None,
        anneal_steps: int | None = None,
        finetune: float | None = None,
        gate_lr: float | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        schedule: Literal["cubic", "fixed"] | Schedule = "cubic",
        dual_lr: float | None = None,
        dual: Literal["sgd", "nupi"] = "sgd",
        dual_options: Mapping[str, Any] | None = None,
        restarts: bool | None = None,
        two_sided: bool | None = None,
        scale: bool = True,
        augmentation: float = 0.0,
        compaction: Compacts | None = None,
        fresh: bool = False,
        process_group: Any = None,
    ) -> None:
        gates = checked_gates("Solver", gates)
        asked = as_constraints("Solver", target_density, measure, constraints)
        budgets = Budgets(asked, gates, "Solver")
        times = timetable(total_steps, anneal_steps, finetune)
        warn_of_few(times.total, stacklevel=2)
        parts = len(budgets.names)
        super().__init__(
            gates,
            asked[0].measure,
            constraints=asked,
            asked={"total_steps": times.total, "anneal_steps": times.annealed, "finetune": times.finetune},
            gate_lr=checked_gate_lr(gate_lr, times.length),
            optimizer=optimizer,
            anneal_steps=times.annealed,
            fresh=fresh,
            process_group=process_group,
        )
        self.constraints, self.budgets, self._times = asked, budgets, times
        self._compaction = checked_compaction(compaction, gates)
        self._schedule, self._scale = schedule_of(schedule), flag("scale", scale, error=SolverError)
        self._dual = Multipliers(
            parts,
            self._device,
            dual=dual,
            lr=default_dual_lr(times.annealed) if dual_lr is None else dual_lr,
            options={} if dual_options is None else dual_options,
            restarts=dual == "sgd" if restarts is None else flag("restarts", restarts, error=SolverError),
            two_sided=parts == 1 if two_sided is None else flag("two_sided", two_sided, error=SolverError),
            augmentation=augmentation,
        )
        self._norms = torch.zeros(parts, dtype=torch.float64, device=self._device)  # running means, not yet unbiased
        self._weight = torch.full((), _TINY, dtype=torch.float64, device=self._device)
        self._share = torch.full_like(self._weight, 1 - _NORM_MEMORY)
        self._all, self._none = torch.ones_like(self._weight), torch.zeros_like(self._weight)
        self._full, self._asked_values = budgets.cost.total, budgets.cost.total * budgets.targets
        self._begin()

    def _pull(self, gradient: Tensor, norm: Tensor, finite: Tensor | None) -> None:
        p, slope = self._estimator.probability_with_slope(self.gates.log_alpha)  # [G], and [G] or [C, G]
        point = self.budgets.cost.beside(p, self.gates)
        pull = point.row() * slope if len(self._full) == 1 else None  # d value / d log_alpha of a single part
        target = self._annealed(self._asked_values)  # in units of the cost
        if self._scale:
            violation = point.deployed / target - 1
            seen = norm if self.budgets.cost.everywhere else point.restricted_norms(per_gate(gradient.double()))
            share = self._share if finite is None else self._share * finite
            self._norms.lerp_(seen if finite is None else torch.where(finite, seen, self._none), share)
            self._weight.lerp_(self._all, share)
            unit = self._norms / self._weight / strength(point, slope, pull)  # u / total
        else:
            violation = (point.deployed - target) / self._full
            unit = 1 / self._full
        coefficients = self._dual.force(unit * (point.value - target) if self._dual.augmented else None) * unit
        if pull is None:
            gradient.add_(point.pull(coefficients) * slope)
        else:
            gradient.addcmul_(pull, coefficients.to(pull.dtype))
        self._dual.ascend(violation, finite)

    def _annealed(self, asked: Tensor) -> Tensor:
        """``asked`` [K], cost values, as they hold at this step: they fall from the whole cost."""
        progress = self._annealing
        if self._schedule is cubic:
            return torch.lerp(asked, self._full, (1 - progress) ** 3) if progress < 1 else asked
        targets = [self._schedule(target, progress) for target in self.budgets.targets.tolist()]
        return self._full * self._full.new_tensor(targets)

    @property
    def target_density(self) -> float | None:
        """The target of a single part, or None."""
        return float(self.budgets.targets[0]) if len(self.budgets.names) == 1 else None

    @property
    def settles_at(self) -> int | None:
        """The step after which the deployed set is settled and held; None where :func:`lzero.purge` settles."""
        return self._times.settles_at

    @property
    def multipliers(self) -> dict[str, float]:
        """lambda of every part, by name; 1 is as strong as the loss."""
        self._continue()
        return self.budgets.named(self._dual.value.detach())

    def metrics(self) -> dict[str, float]:
        """One row of plain floats for a Recorder, evaluated now.

        ``expected`` and ``deployed`` are the whole model's densities in the first budget's measure. With a single
        part, ``target``, ``annealed_target``, ``multiplier`` (lambda), ``multiplier_loss_units`` (lambda u),
        ``violation`` and ``strict_violation`` follow; with several, each of them once a part, as ``name:column``.
        """
        row = super().metrics()
        budgets, multiplier = self.budgets, self._dual.value.detach()
        unit, p = torch.ones_like(multiplier), self._estimator.probability(self.gates.log_alpha.detach())
        if self._scale:
            exactly, slope = self._estimator.probability_with_slope(self.gates.log_alpha)
            unit = self._norms / self._weight / strength(budgets.cost.beside(exactly, self.gates), slope) * self._full
        columns = {
            "target": budgets.targets,
            "annealed_target": self._annealed(self._asked_values) / self._full,
            "multiplier": multiplier,
            "multiplier_loss_units": multiplier * unit,
            "violation": budgets.cost.fraction(p) - budgets.targets,
            "strict_violation": budgets.cost.fraction(self.gates.open_mask()) - budgets.targets,
        }
        for column, values in columns.items():
            named = budgets.named(values)
            row |= {column if len(named) == 1 else f"{name}:{column}": value for name, value in named.items()}
        return row

    def _after(self) -> None:
        super()._after()
        if self.steps == self._times.settles_at and self.gates.held is None:
            settle(self.gates, self.budgets).hold(self.gates, self.budgets)
        if self._compaction is not None:
            targets = self._annealed(self._asked_values) / self._full
            self._compaction.look(self.budgets, targets, self.steps, self._times.length)

    @property
    def _on_device(self) -> bool:
        return super()._on_device and self._dual.immediate

    def _tensors(self) -> dict[str, Tensor]:
        return {**super()._tensors(), "norms": self._norms, "weight": self._weight, **self._dual.tensors()}

    def _take(self, tensors: Mapping[str, Tensor]) -> None:
        super()._take(tensors)
        self._norms.copy_(tensors["norms"])
        self._weight.copy_(tensors["weight"])
        self._dual.restore(tensors)

    def _narrow(self, where: Tensor) -> None:
        super()._narrow(where)
        self.budgets.follow(self.gates)

    def _move(self, device: torch.device) -> None:
        super()._move(device)
        self.budgets.to(device)
        self._dual.to(device)
        self._norms, self._weight = self._norms.to(device), self._weight.to(device)
        self._share, self._all, self._none = (t.to(device) for t in (self._share, self._all, self._none))
        self._full, self._asked_values = self._full.to(device), self._asked_values.to(device)
