"""The constrained solver."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import cooper
import torch
from torch import Tensor

from lzero.constraints import Budget, Constraint, asked_for, part_names
from lzero.cost import Measure
from lzero.errors import SolverError
from lzero.gates.gates import Gates
from lzero.solver.dual import default_lr, dual_optimizer
from lzero.solver.schedule import Schedule, anneal_length, schedule_of
from lzero.solver.seam import Loss, Seam

_MEMORY = 0.99  # of the running mean of the loss gradient's norm
_TINY = 1e-30


class Solver(Seam):
    """The constrained solver: adds lambda u d(cost)/d(gates) to the gates' gradient, then ascends on lambda.

    For a part of the model with expected cost fraction c(p), deployed fraction c(median gates) and target e_t:

        primal:  log_alpha.grad += lambda u d c(p) / d log_alpha,   u = EMA(|d loss|) / |d c|   (norms over log_alpha)
        dual:    lambda <- lambda + dual_lr (c(median gates) - e_t) / e_t,  then 0 where the two disagree in sign

    so that lambda answers to what will be shipped, and lambda = 1 is as strong as the loss, whatever its scale; the
    violation is relative, since one point too much weighs more at a target of 5 % than at 80 %. A single budget is held
    from both sides: what closed too much is opened again by a negative lambda (the loss alone seldom does: closed gates
    get almost no gradient). Where several parts have budgets, which need not be met with equality at once, lambda >= 0.

    Args:
        gates: what ``attach_gates`` returned.
        target_density: shorthand for ``constraints=[Constraint(target_density, measure)]``.
        measure: of the shorthand: ``"params"``, ``"macs"`` or ``"gates"``.
        constraints: one or several budgets that hold at once.
        total_steps: optimizer steps of the whole training, where known; the target anneals over the first half.
        anneal_steps: length of the annealing; overrides ``total_steps``; 1,000 where neither is given.
        schedule: ``"cubic"``, ``"fixed"`` or a function (target, progress in [0, 1]) -> annealed target.
        dual_lr: step size of the ascent; by default 0.01, and 10 / anneal_steps (at most 0.1) where that is more.
        dual: ``"sgd"`` (plain ascent) or ``"nupi"`` (proportional-integral control, cooper's nuPI).
        dual_options: further arguments of the dual optimizer (``Kp``, ``Ki``, ``ema_nu``, ``momentum``).
        restarts: set lambda to 0 where its sign and that of the violation disagree (for lambda >= 0: where the
            constraint is satisfied; dual restarts, arXiv 2208.04425, section 3); by default with ``"sgd"`` only.
        two_sided: let lambda be negative below the target; by default where there is a single part.
        scale: make lambda scale-free by u, and violations relative; False leaves u = 1 and violations as they are.
        augmentation: coefficient of cooper's augmented Lagrangian; 0 is the plain Lagrangian.

    Raises:
        BudgetError: a malformed or infeasible budget; the message has the smallest feasible density.
        SolverError: arguments that do not fit together.
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
        schedule: Literal["cubic", "fixed"] | Schedule = "cubic",
        dual_lr: float | None = None,
        dual: Literal["sgd", "nupi"] = "sgd",
        dual_options: Mapping[str, Any] | None = None,
        restarts: bool | None = None,
        two_sided: bool | None = None,
        scale: bool = True,
        augmentation: float = 0.0,
    ) -> None:
        self.constraints = asked_for("Solver", target_density, measure, constraints)
        super().__init__(gates, self.constraints[0].measure)
        if two_sided is None:
            two_sided = sum(len(constraint.parts(gates)) for constraint in self.constraints) == 1
        self.budgets = [Budget(constraint, gates, augmentation, two_sided) for constraint in self.constraints]
        part_names("Solver", self.budgets)
        self._anneal_steps = anneal_length(total_steps, anneal_steps)
        self._schedule = schedule_of(schedule)
        lr = default_lr(self._anneal_steps) if dual_lr is None else dual_lr
        self._restarts = dual == "sgd" if restarts is None else restarts
        self._scale = scale
        self._norms = [torch.zeros_like(budget.targets) for budget in self.budgets]
        self._units = [torch.ones_like(budget.targets) for budget in self.budgets]
        self._dual = dual_optimizer(dual, [budget.multiplier for budget in self.budgets], lr, dual_options or {})
        gates.budgets = self.budgets

    def step(self, loss: Loss | None = None, closure: Callable[[], Loss] | None = None) -> None:
        """Add the constraints' pull to the gates' gradient and update the multipliers; between backward and step.

        Args:
            loss: the loss of the last forward; needed by estimators that score it (ARM, AR), ignored by the others.
            closure: computes that loss anew, for ARM: see :meth:`lzero.Gates.score`.

        Raises:
            StructureError: the estimator needs a loss or a closure that was not given.
            SolverError: the gates have no gradient yet.
            NonFiniteError: their gradient is NaN or infinite; nothing is changed then.
        """
        loss_gradient = _per_gate(self.loss_gradient(loss, closure).detach().double())
        probability = self.gates.probability()  # [G], with graph
        slope = _per_gate(self.gates.probability_slope().double())  # [G], |dp / d log_alpha|
        deployed = self.gates.open_mask()
        observed: dict[cooper.Constraint, cooper.ConstraintState] = {}
        violations = []
        for position, budget in enumerate(self.budgets):
            expected, rows = budget.cost.linearise(probability)
            if self._scale:
                self._rescale(position, rows.restricted_norms(loss_gradient), rows.norms(slope))
            target = self.annealed(budget.targets)
            strict = budget.cost.fraction(deployed) - target
            if self._scale:
                strict = strict / target
            observed[budget.constraint] = cooper.ConstraintState(
                violation=self._units[position] * (expected - target), strict_violation=strict
            )
            violations.append(strict)
        state = cooper.CMPState(observed_constraints=observed)
        primal, dual = state.compute_primal_lagrangian(), state.compute_dual_lagrangian()
        self._dual.zero_grad()
        primal.backward()
        dual.backward()
        self._dual.step()
        for budget, violation in zip(self.budgets, violations, strict=True):
            budget.project()
            if self._restarts:
                budget.multiplier.data.masked_fill_(budget.multiplier * violation <= 0, 0.0)
        self.steps += 1

    def annealed(self, targets: Tensor) -> Tensor:
        """The targets that hold at this step, shaped as ``targets``."""
        progress = min(self.steps / self._anneal_steps, 1.0)
        return targets.new_tensor([self._schedule(target, progress) for target in targets.tolist()])

    @property
    def multipliers(self) -> dict[str, float]:
        """lambda of every part, by name; 1 is as strong as the loss."""
        return self._by_name([budget.multiplier.detach() for budget in self.budgets])

    def metrics(self) -> dict[str, float]:
        """One row of plain floats for a Recorder, evaluated now.

        ``expected`` and ``deployed`` are the whole model's densities in the first budget's measure. With a single
        part, ``target``, ``annealed_target``, ``multiplier`` (lambda), ``multiplier_loss_units`` (lambda u),
        ``violation`` and ``strict_violation`` follow; with several, each of them once a part, as ``name:column``.
        """
        probability, deployed = self.gates.probability().detach(), self.gates.open_mask()
        row = super().metrics()
        columns = {
            "target": [b.targets for b in self.budgets],
            "annealed_target": [self.annealed(b.targets) for b in self.budgets],
            "multiplier": [b.multiplier.detach() for b in self.budgets],
            "multiplier_loss_units": [
                b.multiplier.detach() * u for b, u in zip(self.budgets, self._units, strict=True)
            ],
            "violation": [b.cost.fraction(probability) - b.targets for b in self.budgets],
            "strict_violation": [b.cost.fraction(deployed) - b.targets for b in self.budgets],
        }
        for column, values in columns.items():
            named = self._by_name(values)
            single = len(named) == 1
            row |= {column if single else f"{name}:{column}": value for name, value in named.items()}
        return row

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that :meth:`load_state_dict` needs to continue to the bit: multipliers, scales, steps.

        It is tensors and plain numbers, so that ``torch.load(..., weights_only=True)`` reads it; the options of the
        dual optimizer belong to the constructor.
        """
        return {
            "steps": self.steps,
            "names": [name for budget in self.budgets for name in budget.names],
            "multipliers": [budget.multiplier.detach().clone() for budget in self.budgets],
            "gradient_norms": [norm.clone() for norm in self._norms],
            "units": [unit.clone() for unit in self._units],
            "dual": copy.deepcopy(self._dual.state_dict()["state"]),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``.

        Raises:
            SolverError: it was saved with other constraints; the message names both. Nothing is changed then.
        """
        entries = ("steps", "multipliers", "gradient_norms", "units", "dual")
        names = [name for budget in self.budgets for name in budget.names]
        if list(state.get("names", [])) != names:
            raise SolverError(
                f"Solver: the saved constraints are {state.get('names')}, these are {names}; build the Solver as it was"
            )
        missing = [entry for entry in entries if entry not in state]
        if missing:
            raise SolverError(f"Solver: the saved state has no {', '.join(missing)}; it is not a Solver's state_dict")
        self.steps = int(state["steps"])
        for position, budget in enumerate(self.budgets):
            budget.multiplier.data.copy_(state["multipliers"][position])
            self._norms[position].copy_(state["gradient_norms"][position])
            self._units[position].copy_(state["units"][position])
        options = self._dual.state_dict()["param_groups"]
        self._dual.load_state_dict({"state": copy.deepcopy(state["dual"]), "param_groups": options})

    def _rescale(self, position: int, loss_norm: Tensor, cost_norm: Tensor) -> None:
        """Update u = EMA(|d loss|) / |d cost| of one budget; both norms [K]."""
        self._norms[position].lerp_(loss_norm, 1 - _MEMORY)
        average = self._norms[position] / (1 - _MEMORY ** (self.steps + 1))
        self._units[position] = average / cost_norm.clamp_min(_TINY)

    def _by_name(self, values: Sequence[Tensor]) -> dict[str, float]:
        """Tensors [K] of every budget as name -> float."""
        return {
            name: value
            for budget, tensor in zip(self.budgets, values, strict=True)
            for name, value in zip(budget.names, tensor.tolist(), strict=True)
        }


def _per_gate(gradient: Tensor) -> Tensor:
    """Of [G] itself, of [C, G] the norm over the parameters of each gate: [G]."""
    return gradient if gradient.dim() == 1 else gradient.norm(dim=0)
