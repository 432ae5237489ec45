"""From probabilities to a deployed set that meets every budget, with less than one unit to spare."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lzero.constraints import Budgets
from lzero.errors import BudgetError
from lzero.gates.gates import Gates


@dataclass(frozen=True, eq=False)
class Settled:
    """A deployed set and how far it lies from the trained one.

    Attributes:
        open: bool [G], the gates to keep.
        threshold: tau, the highest P(z != 0) of a gate that stays closed (no higher than its owner's); 1/2 where
            settling changed nothing. Near 1/2 says that training had converged on the budget.
        moved: number of gates that the trained gates and this set decide differently.
        trained: bool [G], the gates that were open before.
    """

    open: Tensor
    threshold: float
    moved: int
    trained: Tensor

    def hold(self, gates: Gates, budgets: Budgets) -> None:
        """Let ``gates`` hold this set from now on, and keep in their ledger what the certificate will say of it."""
        found = [*budgets.cost.fraction(self.trained).tolist(), self.threshold, float(self.moved)]
        gates.hold(self.open)
        state = gates.ledger if gates.restored is None else gates.restored  # what was loaded waits for its seam
        state["settled"] = torch.tensor(found, dtype=torch.float64)


@torch.no_grad()
def settle(gates: Gates, budgets: Budgets | None, targets: Tensor | None = None) -> Settled:
    """The largest deployed set that meets every budget, likeliest gates first.

    Gates are opened in the order of P(z != 0), each one that still fits, starting from one gate a group. What results
    satisfies every budget, and no closed gate could be opened alone without breaking one: a single budget is met with
    less than one unit to spare. Opening only ever raises a cost and the price of the next gate, so that a gate
    refused once is refused for good, and runs of gates are accepted by bisection.

    Args:
        gates: attached gates.
        budgets: what to meet; None changes nothing.
        targets: other targets than those of ``budgets``, [K].

    Raises:
        BudgetError: one gate a group already costs more than a budget allows.
    """
    trained = gates.open_mask()
    if budgets is None:
        return Settled(trained, 0.5, 0, trained)
    targets = budgets.targets if targets is None else targets
    probability = gates.probability()
    open_ = gates.floor()
    if not budgets.met(open_, targets):
        raise BudgetError("settle: one unit of every layer already exceeds a budget; give the Solver a larger target")
    owned = gates.owners >= 0
    rank = probability
    if gates.owned:
        rank = torch.where(owned, torch.minimum(probability, probability[gates.owners.clamp_min(0)]), probability)
    order = torch.argsort(owned.int(), stable=True)
    order = order[torch.argsort(rank[order], descending=True, stable=True)]  # owners first among equals
    order = order[~open_[order]]
    while len(order):
        order = order[~_hopeless(gates, budgets, targets, open_, order)[order]]
        length = _longest_run(budgets, targets, open_, order)
        open_[order[:length]] = True
        order = order[max(length, 1) :]
    open_ = gates.alive(open_)  # a feature of a closed channel is closed too
    moved = int((open_ != trained).sum())
    closed = rank[~open_]
    threshold = 0.5 if moved == 0 else float(closed.max()) if len(closed) else 0.0
    return Settled(open_, threshold, moved, trained)


def breaking(budgets: Budgets, open_: Tensor, targets: Tensor | None = None) -> Tensor:
    """bool [G]: gates that break a budget when opened alone beside ``open_`` [G]; prices are exact."""
    targets = budgets.targets if targets is None else targets
    value, total = budgets.cost.value(open_), budgets.cost.total
    out = torch.zeros_like(open_)
    for part in range(len(total)):
        price = budgets.cost.gradient(open_, part)
        out |= ((value[part] + price) / total[part] > targets[part]) & (price > 0)
    return out


def _hopeless(gates: Gates, budgets: Budgets, targets: Tensor, open_: Tensor, order: Tensor) -> Tensor:
    """bool [G]: gates that break a budget when opened alone, or whose owner stays closed for good."""
    out = breaking(budgets, open_, targets)
    if not gates.owned:
        return out
    waiting = torch.zeros_like(open_)
    waiting[order] = True
    possible = open_ | (waiting & ~out)
    return out | ((gates.owners >= 0) & ~possible[gates.owners])


def _longest_run(budgets: Budgets, targets: Tensor, open_: Tensor, order: Tensor) -> int:
    """How many gates of ``order``, from its start, can be opened together."""
    low, high = 0, len(order)
    while low < high:
        middle = (low + high + 1) // 2
        trial = open_.clone()
        trial[order[:middle]] = True
        low, high = (middle, high) if budgets.met(trial, targets) else (low, middle - 1)
    return low
