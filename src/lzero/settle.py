"""From an order of the gates to a deployed set that meets every budget, with less than one unit or step to spare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lzero.bundles import Bundles
from lzero.constraints import Budgets
from lzero.cost import Cost
from lzero.errors import BudgetError
from lzero.gates.gates import Gates
from lzero.gates.masks import Masks


@dataclass(frozen=True, eq=False)
class Settled:
    """A deployed set and how far it lies from the trained one.

    Attributes:
        open: bool [G], the gates to keep.
        threshold: tau, the highest P(z != 0) of a gate that stays closed (no higher than its owner's); 1/2 where
            settling changed nothing. Near 1/2 says that training had converged on the budget.
        moved: number of gates that the trained gates and this set decide differently; but for those in a block that
            leaves as a whole.
        before: bool [G], the gates that were open before.
    """

    open: Tensor
    threshold: float
    moved: int
    before: Tensor

    def hold(self, gates: Gates, budgets: Budgets) -> None:
        """Let ``gates`` hold this set from now on, and keep in their ledger what the certificate will say of it."""
        found = [*budgets.cost.fraction(self.before).tolist(), self.threshold, float(self.moved)]
        gates.hold(self.open)
        gates.ledger.note(settled=torch.tensor(found, dtype=torch.float64))


@torch.no_grad()
def settle(gates: Gates, budgets: Budgets | None, targets: Tensor | None = None) -> Settled:
    """The largest deployed set that meets every budget, likeliest gates first: :func:`fill` by P(z != 0).

    Here alone groups open in steps (``plan.steps``). A training counts its open gates one at a time until it settles:
    counts in steps would jump where single gates move, and multipliers with them.

    Args:
        gates: attached gates.
        budgets: what to meet; None deploys what is open now, and in groups that open in steps the rest of the last one.
        targets: other targets than those of ``budgets``, [K].

    Raises:
        BudgetError: one gate or step a group already costs more than a budget allows.
    """
    before = gates.open_mask()
    rank = gates.rank()
    open_ = _widened(gates, before) if budgets is None else fill(rank, budgets, gates.masks, targets)
    counts = _with_effect(gates, open_)
    moved = int(((open_ != before) & counts).sum())
    closed = _with_owner(rank, gates.masks)[~open_ & counts]
    threshold = 0.5 if moved == 0 else float(closed.max()) if len(closed) else 0.0
    return Settled(open_, threshold, moved, before)


def _widened(gates: Gates, open_: Tensor) -> Tensor:
    """``open_`` [G] with the likeliest gates that its groups lack to their next widths; what is held has them."""
    if not gates.masks.stepped or gates.held is not None:
        return open_
    return gates.alive(gates.masks.with_floor(open_, gates.rank().double(), in_steps=True))


def _with_effect(gates: Gates, open_: Tensor) -> Tensor:
    """bool [G]: gates that change the size of the model alone; those in a closed block do not."""
    if not any(group.blocks for group in gates.plan):
        return torch.ones_like(open_)
    return Cost(gates).gradient(open_.to(gates.log_alpha), 0) != 0


def fill(priority: Tensor, budgets: Budgets, masks: Masks, targets: Tensor | None = None) -> Tensor:
    """The largest deployable set that meets every budget, by order of priority: bool [G].

    Gates are opened in that order, each one that still fits, starting from the first gate of every group. What results
    satisfies every budget, and no closed gate could be opened alone without breaking one: a single budget is met with
    less than one unit to spare. Opening only ever raises a cost, so that a gate refused once is refused for good, and
    runs of gates are accepted by bisection; that holds for milliseconds too, where the price of a gate may fall. Where
    a budget is uniform, or groups open in steps, the gates of a :class:`Bundles` are opened together, by their mean
    priority, and "unit" above reads "bundle"; the steps of a group open in turn, so that with one of them all later
    ones are refused.

    Args:
        priority: [G], in [0, 1], the highest first; a gate comes no earlier than the one that owns it, and of those
            that wait for it the highest first.
        budgets: what to meet.
        masks: which sets can be deployed.
        targets: other targets than those of ``budgets``, [K].

    Raises:
        BudgetError: one gate or step a group already costs more than a budget allows.
    """
    targets = budgets.targets if targets is None else targets
    floor = masks.with_floor(torch.zeros_like(priority, dtype=torch.bool), priority.double(), in_steps=True)
    if not budgets.met(floor, targets):  # the likeliest block may be larger than another
        floor = budgets.cheapest(masks, priority)
    bundles = Bundles(priority, floor, budgets.families, masks.stepped)
    open_ = bundles.floor.clone()
    if not budgets.met(open_, targets):
        one = f"one {'step' if masks.stepped else 'unit'} of every layer"
        raise BudgetError(f"settle: {one} already exceeds a budget; give the Solver a larger target")
    order = torch.argsort(bundles.of, stable=True)
    order = order[torch.argsort(bundles.priority[order], descending=True, stable=True)]
    if masks.owners is not None:  # no earlier than their owners, and among equals these first
        order = order[torch.argsort((masks.owners[order] >= 0).int(), stable=True)]
        order = order[torch.argsort(_with_owner(bundles.priority, masks)[order], descending=True, stable=True)]
    order = order[~open_[order]]
    while len(order):
        order = order[~_hopeless(masks, budgets, targets, open_, order, bundles)[order]]
        ends = bundles.ends(order) if len(order) else [0]
        length = _longest_run(budgets, targets, open_, order, ends)
        open_[order[:length]] = True
        order = order[max(length, ends[0]) :]
    return masks.alive(open_)  # a feature of a closed channel is closed too


def _with_owner(priority: Tensor, masks: Masks) -> Tensor:
    """``priority`` [G], of an owned gate no higher than its owner's."""
    owners = masks.owners
    if owners is None:
        return priority
    return torch.where(owners >= 0, torch.minimum(priority, priority[owners.clamp_min(0)]), priority)


def breaking(budgets: Budgets, open_: Tensor, targets: Tensor | None = None, bundles: Bundles | None = None) -> Tensor:
    """bool [G]: gates that break a budget when opened alone beside ``open_`` [G]; prices are exact.

    With ``bundles``, gates whose bundle does: at the sum of its prices, than which it costs no less; of milliseconds,
    where two may cost what one does, at the highest of them.
    """
    targets = budgets.targets if targets is None else targets
    value, total = budgets.cost.value(open_), budgets.cost.total
    out = torch.zeros_like(open_)
    for part in range(len(total)):
        price = budgets.cost.price(open_, part)
        if bundles is not None:
            price = (bundles.highest if budgets.cost.is_timed(part) else bundles.sums)(price * ~open_)
        out |= ((value[part] + price) / total[part] > targets[part]) & (price > 0)
    return out


def _hopeless(
    masks: Masks, budgets: Budgets, targets: Tensor, open_: Tensor, order: Tensor, bundles: Bundles
) -> Tensor:
    """bool [G]: gates that break a budget when opened alone, or whose owner stays closed for good."""
    out = breaking(budgets, open_, targets, None if bundles.alone else bundles)
    if masks.owners is None and bundles.alone:
        return out
    waiting = torch.zeros_like(open_)
    waiting[order] = True
    out |= bundles.behind(~open_ & (out | ~waiting))
    if masks.owners is None:
        return out
    possible = open_ | (waiting & ~out)
    return out | ((masks.owners >= 0) & ~possible[masks.owners])


@torch.no_grad()
def spare(gates: Gates, budgets: Budgets, open_: Tensor) -> Tensor:
    """What ``open_`` [G] leaves of every budget, in the cost of the cheapest unit or step that could come next: [K].

    In [0, 1) for a single budget that :func:`settle` has met; of several, those that do not bind may have more. 0 where
    nothing is left to open.
    """
    masks, cost = gates.masks, budgets.cost
    bundles = Bundles(gates.rank().double(), open_, budgets.families, masks.stepped)
    able = ~open_ if masks.owners is None else ~open_ & ((masks.owners < 0) | open_[masks.owners])
    able = bundles.next(able)
    together = able & (bundles.sums(able.double()) > 1)  # their cost is more than the sum of what each would add
    value = cost.value(open_)
    trials = [cost.value(open_ | (bundles.of == number)) - value for number in set(bundles.of[together].tolist())]
    left = torch.zeros_like(value)
    for part, room in enumerate(budgets.targets - value / cost.total):
        alone = cost.price(open_, part)[able & ~together]
        prices = torch.cat([alone, *(trial[part, None] for trial in trials)])
        prices = prices[prices > 0]
        left[part] = room / (prices.min() / cost.total[part]) if len(prices) else 0.0
    return left


def _longest_run(budgets: Budgets, targets: Tensor, open_: Tensor, order: Tensor, ends: Sequence[int]) -> int:
    """How many gates of ``order``, from its start to one of its ``ends``, can be opened together."""
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high + 1) // 2
        trial = open_.clone()
        trial[order[: ends[middle - 1]]] = True
        low, high = (middle, high) if budgets.met(trial, targets) else (low, middle - 1)
    return ends[low - 1] if low else 0
