"""Budgets: what the user asks for, and the same bound to the gates of a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lzero.checks import choice, flag, real, shown
from lzero.cost import MEASURES, Cost, Measure, check_paths, layers
from lzero.errors import BudgetError
from lzero.gates.gates import Gates
from lzero.gates.masks import Masks
from lzero.latency.table import Table, checked_table
from lzero.plan.alike import families
from lzero.plan.paths import covers
from lzero.plan.widths import checked_round_to


@dataclass(frozen=True)
class Constraint:
    """One budget: deployed cost <= ``target`` times the cost with every gate open.

    Attributes:
        target: density in (0, 1].
        measure: ``"params"``, ``"macs"``, ``"gates"`` or ``"latency"``. Every gate counts one, that of a whole block as
            that of a unit, and a unit in a closed block too: where blocks have gates, the others say what is left.
        within: path of the module that the budget holds for, a layer or a block with all below it; None for the whole
            model.
        each_layer: hold for every gated layer on its own, of the whole model or of what lies ``within``.
        uniform: settle so that groups that are alike (heads and hidden units of every block) keep the same number of
            units, of the whole model or of what lies ``within``. The budget is then met with less than one unit (or
            step, see ``round_to`` of :func:`lzero.attach_gates`) in each of them to spare.
        table: for ``"latency"`` what :func:`lzero.latency.measure` returned: milliseconds are the table's.

    Example:
        >>> import lzero
        >>> half_of_the_work = lzero.Constraint(0.5, "macs")
        >>> head_alone = lzero.Constraint(0.2, within="head")
        >>> lzero.Constraint(1.5)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        lzero.errors.BudgetError: target: expected a density in (0, 1], such as 0.1 for a tenth, found 1.5

    Raises:
        BudgetError: a target outside (0, 1], or not a number; an unknown measure; a path that is no word; a latency
            without a table, or a table with another measure.
    """

    target: float
    measure: Measure = "params"
    within: str | None = None
    each_layer: bool = False
    uniform: bool = False
    table: Table | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        expected = "a density in (0, 1], such as 0.1 for a tenth"
        object.__setattr__(
            self, "target", real("target", self.target, above=0, most=1, expected=expected, error=BudgetError)
        )
        choice("measure", self.measure, MEASURES, error=BudgetError)
        checked_table(self.measure, self.table)
        flag("each_layer", self.each_layer, error=BudgetError)
        flag("uniform", self.uniform, error=BudgetError)
        if self.within is not None and not (isinstance(self.within, str) and self.within):
            raise BudgetError(
                f"within: expected the path of a module, such as 'backbone.layer4', or None, found {shown(self.within)}"
            )

    def parts(self, gates: Gates) -> dict[str, float]:
        """Module path -> target density of every part that this budget holds for; ``""`` is the whole model.

        Args:
            gates: attached gates.

        Raises:
            BudgetError: nothing gated lies ``within``.
        """
        consumers = self.measure == "gates"
        if self.within is not None:
            check_paths("within", [self.within], gates.plan, consumers=consumers)
        if not self.each_layer:
            return {self.within or "": self.target}
        found = layers(gates.plan, consumers=consumers, within=self.within or "")
        if self.table is not None:  # a layer of a table may hold several of these: attention
            timed = [layer.path for layer in self.table.layers]
            found = [path for path in timed if any(covers(path, layer) for layer in found)]
        if not found:  # whole blocks alone have gates
            raise BudgetError("each_layer: no layer has gates of its own; leave it out, or count params or macs")
        return dict.fromkeys(found, self.target)


_TINY, _TIE = 1e-300, 1e-9


class Budgets:
    """Constraints bound to attached gates: the K parts that they hold for, their costs and their targets.

    Args:
        constraints: what was asked for.
        gates: attached gates.
        who: the beginning of messages.

    Attributes:
        constraints: what was asked for.
        names: one readable name a part, such as ``"params"`` or ``"macs/conv1"``.
        cost: the costs of the K parts.
        targets: float64 [K].
        families: the gates of groups that keep the same number of units, a slice for each group of a family.

    Raises:
        BudgetError: no choice of gates meets a target (the message has the smallest that one does), nothing in a part
            counts, two budgets hold for the same part and measure, or one is uniform where no groups are alike, or
            those that are open in different steps.
    """

    def __init__(self, constraints: Sequence[Constraint], gates: Gates, who: str = "constraints") -> None:
        self.constraints = _checked(who, constraints)
        parts = [
            (constraint.measure, path, target, constraint.table)
            for constraint in self.constraints
            for path, target in constraint.parts(gates).items()
        ]
        self.names = [f"{measure}/{path}" if path else measure for measure, path, *_ in parts]
        if len(set(self.names)) < len(self.names):
            raise BudgetError(
                f"{who}: two budgets hold for the same part and measure: {', '.join(self.names)}; keep one"
            )
        device = gates.log_alpha.device
        self.targets = torch.tensor([target for _, _, target, _ in parts], dtype=torch.float64, device=device)
        measures, tables = [measure for measure, *_ in parts], [table for *_, table in parts]
        self.cost = Cost(gates, measures, [(path,) for _, path, *_ in parts], tables)
        self.families = _families(who, self.constraints, gates)
        floors = [gates.floor(), self.cheapest(gates.masks, gates.rank().double())]
        floor = next((floor for floor in floors if self.met(floor)), floors[-1])
        smallest = self.cost.fraction(floor).tolist()
        for name, total, target, least in zip(
            self.names, self.cost.total.tolist(), self.targets.tolist(), smallest, strict=True
        ):
            if not total:
                raise BudgetError(f"{name}: nothing there counts towards it; ask for another measure or module")
            if target < least:
                raise BudgetError(
                    f"{name}: a density of {target:.6g} cannot be met: what is not gated, and one {_least(gates)} of "
                    f"every gated layer, already cost {least:.6g}; ask for at least {math.ceil(least * 1e6) / 1e6:.6f}"
                )

    def follow(self, gates: Gates) -> None:
        """Go on with what is left of the gates: costs stay shares of what they were."""
        self.cost, self.families = self.cost.of(gates), _families("constraints", self.constraints, gates)

    def to(self, device: torch.device) -> None:
        """Move to ``device``, in place."""
        self.targets = self.targets.to(device)
        self.cost.to(device)

    @torch.no_grad()
    def cheapest(self, masks: Masks, score: Tensor) -> Tensor:
        """The smallest deployable set, bool [G], of the gates that cost least: of whole blocks the small one.

        Args:
            masks: which sets can be deployed.
            score: [G], in [0, 1]; of gates that cost the same the one with the highest stays.
        """
        nothing = torch.zeros_like(score, dtype=torch.bool)
        floor = masks.with_floor(nothing, score.double(), in_steps=True)
        prices = [self.cost.gradient(floor, part) / total for part, total in enumerate(self.cost.total)]
        price = torch.stack(prices).sum(0).double()
        cheap = (1 - price / price.max().clamp_min(_TINY)) * (1 - _TIE) + _TIE * score.double()
        return masks.with_floor(nothing, cheap, in_steps=True)

    def named(self, values: Tensor) -> dict[str, float]:
        """``values`` [K] as name -> float."""
        return dict(zip(self.names, values.tolist(), strict=True))

    def met(self, open_: Tensor, targets: Tensor | None = None) -> bool:
        """Whether the deployed set ``open_`` [G] meets every budget, or other ``targets`` [K]."""
        return bool((self.cost.fraction(open_) <= (self.targets if targets is None else targets)).all())


def _least(gates: Gates) -> str:
    if not gates.masks.stepped:
        return "unit"
    asked = checked_round_to(gates.plan.round_to)
    return f"step (round_to={shown(asked)}; a group that is no wider stays whole)"


def _families(who: str, constraints: Sequence[Constraint], gates: Gates) -> tuple[tuple[slice, ...], ...]:
    within = [constraint.within or "" for constraint in constraints if constraint.uniform]
    if not within:
        return ()
    found = families((gates.plan if gates.whole is None else gates.whole.plan).groups, within)
    if not found:
        units = ", ".join(f"{group.name} ({group.size})" for group in gates.plan.groups if group.kind == "unit")
        raise BudgetError(
            f"{who}: uniform=True, but no two groups of units are alike in size and in the last word of their names "
            f"({units or 'there are no groups of units'}); leave it out"
        )
    for family in found:
        steps = {gates.plan.steps[name]: name for name in family}
        if len(steps) > 1:
            unlike = " and ".join(f"{name} by {step}" for step, name in steps.items())
            raise BudgetError(f"{who}: uniform=True, but {unlike} do not open alike; give both the same round_to")
    return tuple(tuple(gates.slices[name] for name in family) for family in found)


def as_constraints(
    who: str, target_density: float | None, measure: Measure, constraints: Sequence[Constraint] | None
) -> tuple[Constraint, ...]:
    """The constraints that ``who`` was given, ``target_density`` being the shorthand for a single one.

    Raises:
        BudgetError: both or neither were given, or what was given is no sequence of constraints.
    """
    if (target_density is None) == (constraints is None):
        raise BudgetError(
            f"{who}: a budget is needed, and one way of saying it; give either target_density or constraints"
        )
    if constraints is None:
        return (Constraint(target_density, measure),)  # type: ignore[arg-type]
    if measure != "params":
        raise BudgetError(f"{who}: measure belongs to target_density; give it to each Constraint instead")
    return _checked(who, constraints)


def _checked(who: str, constraints: object) -> tuple[Constraint, ...]:
    expected = f"{who}: expected constraints=[lzero.Constraint(0.1), ...]"
    if isinstance(constraints, Constraint):
        return (constraints,)
    if not isinstance(constraints, Sequence) or isinstance(constraints, str):
        raise BudgetError(f"{expected}, found {shown(constraints)}")
    wrong = [constraint for constraint in constraints if not isinstance(constraint, Constraint)]
    if wrong or not constraints:
        raise BudgetError(f"{expected}, found {shown(wrong[0]) if wrong else 'none'}")
    return tuple(constraints)
