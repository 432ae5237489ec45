"""What was asked for and what is shipped, and whether the training had got there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lzero.checks import shown
from lzero.constraint_record import KIND, from_tensor
from lzero.constraints import Budgets, Constraint
from lzero.cost import Cost
from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.latency.again import Latency
from lzero.latency.packed import TABLES
from lzero.latency.table import Table
from lzero.plan.widths import checked_round_to
from lzero.settle import Settled, spare

_RELATIVE_MISS = 0.25  # of what was asked, before settling
_STRONG_MULTIPLIER = 30.0  # a multiplier that high says that gates do not follow it


@dataclass(frozen=True)
class Certificate:
    """What was asked for and what is shipped, as plain numbers.

    Attributes:
        asked: budget name -> target density; empty where no budget was given.
        expected: budget name -> expected density of the gates at the end of training.
        before_settling: budget name -> density of the gates that training had left open.
        deployed: budget name -> density of the purged model, which is shipped: asked - deployed is >= 0 and below one
            unit.
        threshold: above which P(z != 0) opened a gate when the set was settled; 1/2 where the training had got there.
        moved: gates that settling decided against the training.
        parameters: parameters of the purged model that are not purged to zero.
        parameters_before: parameters of the ungated model.
        largest_difference: largest ``|gated eval output - purged output|`` on the example inputs; None if not verified.
        latency: milliseconds by the table of a budget of latency, and measured again; None without such a budget.
        warnings: why not to trust it: settling, and not the training, has chosen what is shipped. Empty where all is
            well.
        round_to: what the shipped widths are multiples of, where they are not whole; or module path -> number.
        spare: budget name -> asked - deployed in units, or steps of ``round_to``: what the cheapest one that could
            have come next would cost is 1. Below 1 for a single budget; several seldom bind at once.
    """

    asked: Mapping[str, float]
    expected: Mapping[str, float]
    before_settling: Mapping[str, float]
    deployed: Mapping[str, float]
    threshold: float
    moved: int
    parameters: int
    parameters_before: int
    largest_difference: float | None
    warnings: tuple[str, ...] = ()
    latency: Latency | None = None
    round_to: int | Mapping[str, int] = 1
    spare: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dicts and numbers, for JSON."""
        return {**asdict(self), "warnings": list(self.warnings)}

    def __str__(self) -> str:
        rows = [
            f"{name}: asked {self.asked[name]:.2%}, " if name in self.asked else f"{name}: " for name in self.deployed
        ]
        lines = [
            f"{row}shipped {self.deployed[name]:.2%} (expected {self.expected[name]:.2%}, "
            f"before settling {self.before_settling[name]:.2%})"
            for row, name in zip(rows, self.deployed, strict=True)
        ]
        lines.append(f"parameters: {self.parameters:,} of {self.parameters_before:,}")
        if self.round_to != 1:
            lines.append(self._widths())
        lines.append(f"threshold {self.threshold:.3f}, {self.moved} gates settled")
        if self.largest_difference is not None:
            lines.append(f"largest difference to the gated model: {self.largest_difference:.1e}")
        if self.latency is not None:
            lines.append(f"latency: {self.latency}")
        lines += [f"warning: {text}" for text in self.warnings]
        return "\n".join(lines)

    def _widths(self) -> str:
        asked = {"": self.round_to} if isinstance(self.round_to, int) else self.round_to
        said = [f"{_whole_multiples(number)}{f' at {path}' if path else ''}" for path, number in asked.items()]
        left = [f"{steps:.2f} steps to spare of {name}" for name, steps in self.spare.items()]
        return f"widths: {'; '.join(said)}" + (f" ({', '.join(left)})" if left else "")


def _whole_multiples(number: int) -> str:
    return "as they are" if number == 1 else f"whole or multiples of {number}"


def certify(
    gates: Gates,
    budgets: Budgets | None,
    settled: Settled,
    difference: float | None,
    *,
    by_budget: bool = True,
    measured: tuple[float, float] | None = None,
) -> Certificate:
    """The certificate of ``settled``, for the ``budgets`` that it was chosen by.

    Args:
        gates: that were settled.
        budgets: what was asked for.
        settled: what is shipped.
        difference: largest |gated - purged output|.
        by_budget: False where what is open is shipped on purpose: the lack of a budget is not worth a
            warning then.
        measured: milliseconds of forwards before and after, as the table of a budget of latency was measured.
    """
    columns: list[dict[str, float]] = [{}, {}, {}]
    sets = [gates.probability(), settled.before, settled.open]
    whole = Cost(gates, "params")
    asked = {} if budgets is None else budgets.named(budgets.targets)
    parts = [] if budgets is None else [(budgets.names, budgets.cost)]
    if "params" not in asked:
        parts.append((["params"], whole))
    for names, cost in parts:
        for column, p in zip(columns, sets, strict=True):
            column.update(zip(names, cost.fraction(p).tolist(), strict=True))
    before = gates.ledger.latest.get("settled")
    if gates.held is not None and before is not None and budgets is not None and len(before) == len(budgets.names) + 2:
        columns[1].update(zip(budgets.names, before.tolist(), strict=False))
    doubts = _doubts(gates, budgets, asked, columns, settled.moved) if by_budget or budgets is not None else []
    return Certificate(
        asked=asked,
        expected=columns[0],
        before_settling=columns[1],
        deployed=columns[2],
        threshold=settled.threshold,
        moved=settled.moved,
        parameters=round(float(whole.value(settled.open))),
        parameters_before=round(float(whole.total)),
        largest_difference=difference,
        warnings=tuple(doubts),
        round_to=checked_round_to(gates.plan.round_to),
        spare={} if budgets is None else budgets.named(spare(gates, budgets, settled.open)),
        latency=_latency(gates, budgets, settled, measured),
    )


def table_of(budgets: Budgets | None) -> Table | None:
    """The table of the first budget of latency; None where there is none."""
    held = () if budgets is None else budgets.constraints
    return next((constraint.table for constraint in held if constraint.table is not None), None)


def _latency(
    gates: Gates, budgets: Budgets | None, settled: Settled, measured: tuple[float, float] | None
) -> Latency | None:
    table = table_of(budgets)
    if table is None:
        return None
    cost, (before, after) = Cost(gates, "latency", tables=table), measured or (None, None)
    predicted = float(cost.value(settled.open))
    return Latency(float(cost.total), predicted, before, after, table.device, table.threads, table.batch)


def asked_of(gates: Gates) -> tuple[Constraint, ...]:
    """The budgets that ``gates`` have been trained for, also by a Solver of another process; empty without one.

    Raises:
        StructureError: the training had gates with another ``round_to``.
    """
    left = gates.ledger.latest
    if "asked" not in left:
        return ()
    found = from_tensor(left["asked"], left.get(TABLES))
    theirs, mine = found.get("round_to", 1), checked_round_to(gates.plan.round_to)
    if theirs != mine:
        raise StructureError(
            f"round_to: the gates have been trained with {shown(theirs)}, these were attached with {shown(mine)}; "
            f"attach them with round_to={shown(theirs)}, or say what to meet: purge(model, constraints=[...])"
        )
    budgets: tuple[Constraint, ...] = found["constraints"]
    return budgets


def _doubts(
    gates: Gates, budgets: Budgets | None, asked: Mapping[str, float], columns: list[dict[str, float]], moved: int
) -> list[str]:
    state = gates.ledger.latest
    saved = state.get("asked")
    found: Mapping[str, Any] = {} if saved is None else from_tensor(saved, state.get(TABLES))
    kind, steps = found.get(KIND, "Solver"), int(state["steps"][0]) if "steps" in state else 0
    if budgets is None:
        (name,) = columns[2]
        ships = f"no budget was given, and whatever is open is shipped: {columns[2][name]:.2%} of the parameters"
        cure = "build lzero.Solver(gates, target_density=...) and train, or pass purge(model, constraints=[...])"
        return [ships if kind in ("Penalty", "Elbo") else f"{ships}; {cure}"]
    far = [
        f"{name}: {asked[name]:.2%} asked, {columns[1][name]:.2%} before settling"
        for name in asked
        if abs(columns[1][name] - asked[name]) > _RELATIVE_MISS * asked[name]
        if (moved or columns[2][name] > asked[name]) and not _slack(name, asked, columns)
    ]
    reasons = []
    length = found.get("anneal_steps") or 0
    multipliers = state["multipliers"].tolist() if "multipliers" in state else []
    if not steps and as_attached(gates):
        reasons.append(
            "no step of a solver has moved these gates: call solver.step() after loss.backward(), in every step"
        )
    elif 0 < steps < length:
        reasons.append(
            f"training ended after {steps} steps, before the target had come down (which takes {length}): pass the "
            "number of optimizer steps of the training as total_steps"
        )
    if any(abs(value) > _STRONG_MULTIPLIER for value in multipliers):
        reasons.append(
            f"the multiplier has risen to {max(map(abs, multipliers)):.0f}, so that gates do not follow it: train "
            "longer, or raise gate_lr"
        )
    if not far and not reasons:
        return []
    text = "settling, and not the training, has chosen what is shipped"
    if far:
        text += f" ({'; '.join(far)})"
    return [f"{text}: {'; '.join(reasons or [_default_reason(kind)])}"]


def _default_reason(kind: str) -> str:
    if kind in ("Penalty", "Elbo"):
        return f"{kind} trains towards no density; take lzero.Solver, which goes there in training"
    return "the training was too short for it: train for more steps"


def as_attached(gates: Gates) -> bool:
    """Whether all gates of a group are alike; an average of a model that was trained is not, and counts no steps."""
    return all(bool((piece == piece[..., :1]).all()) for piece in gates.pieces(gates.log_alpha))


def _slack(name: str, asked: Mapping[str, float], columns: list[dict[str, float]]) -> bool:
    """Whether a budget among several is met with room to spare: others bind, which is no fault of the training."""
    return len(asked) > 1 and columns[1][name] < asked[name]
