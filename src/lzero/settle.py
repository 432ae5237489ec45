"""From probabilities to a deployed set that meets every budget, with less than one unit to spare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lzero.constraints import Budget
from lzero.errors import BudgetError
from lzero.gates.gates import Gates


@dataclass(frozen=True, eq=False)
class Settled:
    """A deployed set and how far it lies from the trained one.

    Attributes:
        open: bool [G], the gates to keep.
        threshold: tau, the highest P(z != 0) of a gate that stays closed (no higher than its owner's); 1/2 where
            settling changed nothing. Near 1/2 says that training had converged on the budget.
        moved: number of gates that the median gates and this set decide differently.
    """

    open: Tensor
    threshold: float
    moved: int


@torch.no_grad()
def settle(gates: Gates, budgets: Sequence[Budget]) -> Settled:
    """The largest deployed set that meets every budget, likeliest gates first.

    Gates are opened in the order of P(z != 0), each one that still fits, starting from one gate a group. What results
    satisfies every budget, and no closed gate could be opened alone without breaking one: a single budget is met with
    less than one unit to spare. Opening only ever raises a cost and the price of the next gate, so that a gate
    refused once is refused for good, and runs of gates are accepted by bisection.

    Raises:
        BudgetError: one gate a group already costs more than a budget allows.
    """
    trained = gates.open_mask()
    if not budgets:
        return Settled(trained, 0.5, 0)
    probability = gates.probability()
    open_ = gates.floor()
    if not _fits(budgets, open_):
        raise BudgetError("settle: one unit of every layer already exceeds a budget; give the Solver a larger target")
    owner = gates.owners.clamp_min(0)
    owned = gates.owners >= 0
    rank = torch.where(owned, torch.minimum(probability, probability[owner]), probability)
    order = torch.argsort(owned.int(), stable=True)
    order = order[torch.argsort(rank[order], descending=True, stable=True)]  # owners first among equals
    order = order[~open_[order]]
    while len(order):
        order = order[~_hopeless(gates, budgets, open_, order)[order]]
        length = _longest_run(budgets, open_, order)
        open_[order[:length]] = True
        order = order[max(length, 1) :]
    open_ = gates.alive(open_)  # a feature of a closed channel is closed too
    moved = int((open_ != trained).sum())
    closed = rank[~open_]
    threshold = 0.5 if moved == 0 else float(closed.max()) if len(closed) else 0.0
    return Settled(open_, threshold, moved)


def _fits(budgets: Sequence[Budget], open_: Tensor) -> bool:
    return all(bool((budget.cost.fraction(open_) <= budget.targets).all()) for budget in budgets)


def _hopeless(gates: Gates, budgets: Sequence[Budget], open_: Tensor, order: Tensor) -> Tensor:
    """bool [G]: gates that break a budget when opened alone, or whose owner stays closed for good."""
    out = torch.zeros_like(open_)
    for budget in budgets:
        value = budget.cost.value(open_)
        price = budget.cost.gradient(open_)
        breaks = (value[price.part] + price.values) / budget.cost.total[price.part] > budget.targets[price.part]
        out[price.gate[breaks]] = True
    waiting = torch.zeros_like(open_)
    waiting[order] = True
    possible = open_ | (waiting & ~out)
    return out | ((gates.owners >= 0) & ~possible[gates.owners])


def _longest_run(budgets: Sequence[Budget], open_: Tensor, order: Tensor) -> int:
    """How many gates of ``order``, from its start, can be opened together."""
    low, high = 0, len(order)
    while low < high:
        middle = (low + high + 1) // 2
        trial = open_.clone()
        trial[order[:middle]] = True
        low, high = (middle, high) if _fits(budgets, trial) else (low, middle - 1)
    return low
