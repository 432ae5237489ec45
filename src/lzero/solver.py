"""The seam to a training loop: one line between ``backward()`` and ``optimizer.step()``."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, Literal

import cooper
import torch
from torch import Tensor

from lzero.constraints import Budget, Constraint
from lzero.cost import Cost, Measure
from lzero.errors import BudgetError, NonFiniteError, SolverError
from lzero.gates.gates import Gates

Schedule = Callable[[float, float], float]
_MEMORY = 0.99  # of the running mean of the loss gradient's norm
_ANNEAL_STEPS = 1000
_DUAL_LR, _DUAL_TRAVEL = 0.01, 10.0
_TINY = 1e-30


def cubic(target: float, progress: float) -> float:
    """Annealed target: from 1 at ``progress`` 0 to ``target`` at 1, as target + (1 - target)(1 - progress)^3."""
    return target + (1 - target) * (1 - min(progress, 1.0)) ** 3


def fixed(target: float, progress: float) -> float:
    """The target itself, from the first step on."""
    return target


SCHEDULES: Mapping[str, Schedule] = {"cubic": cubic, "fixed": fixed}


class _Seam:
    """What :class:`Solver` and :class:`Penalty` share: the gates, the checks of their gradient, the model's cost."""

    def __init__(self, gates: Gates, measure: Measure) -> None:
        if not isinstance(gates, Gates):
            raise SolverError(f"expected the Gates that lzero.attach_gates returned, found {type(gates).__name__}")
        self.gates = gates
        self.steps = 0
        self._model_cost = Cost(gates, measure)

    def _loss_gradient(self) -> Tensor:
        """d loss / d log_alpha, [G], or the reason why there is none."""
        grad = self.gates.log_alpha.grad
        if grad is None:
            raise SolverError(
                "the gates' log_alpha has no gradient: call step() after loss.backward() and before optimizer.step(), "
                "with the model in train mode"
            )
        if not torch.isfinite(grad).all():
            raise NonFiniteError(
                f"the gates' log_alpha: the loss gradient is not finite at step {self.steps}; nothing was changed. "
                "Look at the loss and the learning rate; under a GradScaler call scaler.unscale_(optimizer) first "
                "and skip step() where gradients overflowed"
            )
        return grad

    def metrics(self) -> dict[str, float]:
        """Expected and deployed density of the whole model now, as plain floats for a Recorder."""
        expected = self._model_cost.fraction(self.gates.probability().detach())
        return {"expected": float(expected), "deployed": float(self._model_cost.fraction(self.gates.open_mask()))}


class Solver(_Seam):
    """The constrained solver: adds lambda u d(cost)/d(gates) to the gates' gradient, then ascends on lambda.

    For a part of the model with expected cost fraction c(p), deployed fraction c(median gates) and target e_t:

        primal:  log_alpha.grad += lambda u d c(p) / d log_alpha,   u = EMA(|d loss|) / |d c|   (norms over log_alpha)
        dual:    lambda <- lambda + dual_lr (c(median gates) - e_t),  then 0 where lambda and that violation disagree

    so that lambda answers to what will be shipped, and lambda = 1 is as strong as the loss, whatever its scale. A
    single budget is held from both sides: what closed too much is opened again by a negative lambda (the loss alone
    seldom does: closed gates get almost no gradient). Where several parts have budgets, which need not be met with
    equality at once, lambda >= 0.

    Args:
        gates: what ``attach_gates`` returned.
        target_density: shorthand for ``constraints=[Constraint(target_density, measure)]``.
        measure: of the shorthand: ``"params"``, ``"macs"`` or ``"gates"``.
        constraints: one or several budgets that hold at once.
        total_steps: optimizer steps of the whole training, where known; the target anneals over the first half.
        anneal_steps: length of the annealing; overrides ``total_steps``; 1,000 where neither is given.
        schedule: ``"cubic"``, ``"fixed"`` or a function (target, progress in [0, 1]) -> annealed target.
        dual_lr: step size of the ascent; by default 0.01, and 10 / anneal_steps where that is more: a short training
            has as little time to raise lambda as it has to close gates.
        dual: ``"sgd"`` (plain ascent) or ``"nupi"`` (proportional-integral control, cooper's nuPI).
        dual_options: further arguments of the dual optimizer (``Kp``, ``Ki``, ``ema_nu``, ``momentum``).
        restarts: set lambda to 0 where its sign and that of the violation disagree (for lambda >= 0: where the
            constraint is satisfied; dual restarts, arXiv 2208.04425, section 3); by default with ``"sgd"`` only.
        two_sided: let lambda be negative below the target; by default where there is a single part.
        scale: make lambda scale-free by u; False leaves u = 1.
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
        if (target_density is None) == (constraints is None):
            raise BudgetError("Solver: give either target_density or constraints")
        asked = [Constraint(target_density, measure)] if constraints is None else list(constraints)
        if not asked:
            raise BudgetError("Solver: constraints is empty; give at least one lzero.Constraint")
        super().__init__(gates, asked[0].measure)
        self.constraints = tuple(asked)
        if two_sided is None:
            two_sided = sum(len(constraint.parts(gates)) for constraint in asked) == 1
        self.budgets = [Budget(constraint, gates, augmentation, two_sided) for constraint in asked]
        names = [name for budget in self.budgets for name in budget.names]
        if len(set(names)) < len(names):
            raise BudgetError(f"Solver: two budgets hold for the same part and measure: {', '.join(names)}")
        self._anneal_steps = _anneal_length(total_steps, anneal_steps)
        self._schedule = _schedule(schedule)
        lr = max(_DUAL_LR, _DUAL_TRAVEL / self._anneal_steps) if dual_lr is None else dual_lr
        self._restarts = dual == "sgd" if restarts is None else restarts
        self._scale = scale
        self._norms = [torch.zeros_like(budget.targets) for budget in self.budgets]
        self._units = [torch.ones_like(budget.targets) for budget in self.budgets]
        self._dual = _dual_optimizer(dual, [budget.multiplier for budget in self.budgets], lr, dual_options or {})
        gates.budgets = self.budgets

    def step(self) -> None:
        """Add the constraints' pull to the gates' gradient and update the multipliers; between backward and step.

        Raises:
            SolverError: the gates have no gradient yet.
            NonFiniteError: their gradient is NaN or infinite; nothing is changed then.
        """
        loss_gradient = self._loss_gradient().detach().double()
        probability = self.gates.probability()  # [G], with graph
        slope = self.gates.probability_slope().double()  # [G], dp / d log_alpha
        deployed = self.gates.open_mask()
        observed: dict[cooper.Constraint, cooper.ConstraintState] = {}
        violations = []
        for position, budget in enumerate(self.budgets):
            expected, rows = budget.cost.linearise(probability)
            if self._scale:
                self._rescale(position, rows.restricted_norms(loss_gradient), rows.norms(slope))
            target = self.annealed(budget.targets)
            strict = budget.cost.fraction(deployed) - target
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


class Penalty(_Seam):
    """The penalized baseline behind the same seam: loss + coefficient * expected cost fraction, no target.

    Adds coefficient * d c(p) / d log_alpha to the gates' gradient, with c the expected cost as a fraction of the cost
    with every gate open: the lambda of Louizos et al. (arXiv 1712.01312, eq. 4), counted on what will be deployed.

    Args:
        gates: what ``attach_gates`` returned.
        coefficient: lambda >= 0, in units of the loss.
        measure: ``"params"``, ``"macs"`` or ``"gates"``.

    Raises:
        BudgetError: a coefficient that is negative or not a finite number.
    """

    def __init__(self, gates: Gates, coefficient: float, *, measure: Measure = "params") -> None:
        if isinstance(coefficient, bool) or not isinstance(coefficient, Real) or not 0 <= coefficient < math.inf:
            raise BudgetError(f"coefficient: expected a finite number >= 0, such as 0.1, found {coefficient!r}")
        super().__init__(gates, measure)
        self.coefficient: float = float(coefficient)
        gates.budgets = ()

    def step(self) -> None:
        """Add the penalty's pull to the gates' gradient; between backward and step. Raises as ``Solver.step``."""
        self._loss_gradient()
        expected, _ = self._model_cost.linearise(self.gates.probability())
        (self.coefficient * expected.sum()).backward()  # type: ignore[no-untyped-call]
        self.steps += 1

    def metrics(self) -> dict[str, float]:
        """Expected and deployed density, and the coefficient as ``multiplier`` and ``multiplier_loss_units``."""
        return {
            **super().metrics(),
            "multiplier": self.coefficient,
            "multiplier_loss_units": self.coefficient,
        }

    def state_dict(self) -> dict[str, Any]:
        """Steps and coefficient."""
        return {"steps": self.steps, "coefficient": self.coefficient}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``.

        Raises:
            SolverError: it is not a Penalty's. Nothing is changed then.
        """
        if not {"steps", "coefficient"} <= state.keys():
            raise SolverError(f"Penalty: expected the entries steps and coefficient, found {list(state)}")
        self.steps = int(state["steps"])
        self.coefficient = float(state["coefficient"])


def _anneal_length(total_steps: int | None, anneal_steps: int | None) -> int:
    for name, value in (("total_steps", total_steps), ("anneal_steps", anneal_steps)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise SolverError(f"{name}: expected a positive number of optimizer steps, found {value!r}")
    if anneal_steps is not None:
        return anneal_steps
    return max(1, total_steps // 2) if total_steps is not None else _ANNEAL_STEPS


def _schedule(schedule: str | Schedule) -> Schedule:
    if callable(schedule):
        return schedule
    if schedule not in SCHEDULES:
        raise SolverError(f"schedule: expected one of {', '.join(SCHEDULES)} or a function, found {schedule!r}")
    return SCHEDULES[schedule]


def _dual_optimizer(
    dual: str, multipliers: list[Tensor], lr: float, options: Mapping[str, Any]
) -> torch.optim.Optimizer:
    if isinstance(lr, bool) or not isinstance(lr, Real) or not 0 < lr < math.inf:
        raise SolverError(f"dual_lr: expected a positive number, found {lr!r}")
    if dual not in ("sgd", "nupi"):
        raise SolverError(f"dual: expected 'sgd' or 'nupi', found {dual!r}")
    try:
        if dual == "sgd":
            return torch.optim.SGD(multipliers, lr=lr, maximize=True, **options)
        gains = {"Kp": 1.0, "Ki": 1.0, "ema_nu": 0.0} | dict(options)
        gains |= {name: torch.as_tensor(gains[name]).to(multipliers[0]) for name in ("Kp", "Ki")}
        return cooper.optim.nuPI(multipliers, lr=lr, maximize=True, **gains)
    except (TypeError, ValueError) as problem:
        raise SolverError(f"dual_options: {dual} does not take {dict(options)}: {problem}") from problem
