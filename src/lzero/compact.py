"""Training that gets cheaper on its way: units whose gates are closed for good leave the model that trains."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lzero.certificate import asked_of
from lzero.checks import real, shown
from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.host.wrappers import check_not_parallel, check_unsharded, unwrap
from lzero.plan.alike import families
from lzero.plan.narrowed import may_go
from lzero.surgery.attached import root_gates
from lzero.surgery.grown import check_not_grown
from lzero.surgery.narrow import narrow_model

BELOW = 0.05
"""P(z != 0) up to which a gate that is closed counts as closed for good.

Trainings at 0.05 end no worse than those that wait for 0.001, or in which no unit leaves, and the earlier units go the
more is saved (``benchmarks/whole.md``).
"""


def compact(
    model: nn.Module,
    *optimizers: torch.optim.Optimizer,
    copies: Sequence[nn.Module] = (),
    below: float = BELOW,
) -> int:
    """Take the units whose gates are closed for good out of ``model`` while it trains, in place; how many gates left.

    Every forward and backward is cheaper from then on, and gives what it gave with those gates at 0. Parameters, gates
    and optimizers stay the objects that they are; weights, buffers, sizes, all that optimizers remember, and the
    gradients that wait for a step are cut alike. Budgets stay shares of what the model *was*, and so does all that the
    certificate counts. Call it after ``solver.step()``, before the next forward.

    A gate is closed for good where a training that has settled holds it closed, or else where it would not be deployed
    and P(z != 0) <= ``below``. Widths of streams under norms, whole blocks, experts and single weights stay until
    :func:`lzero.purge`; of groups that a ``uniform`` budget keeps alike, as many leave each; of those that are shipped
    in steps (``round_to``), whole steps.

    A state dict is that of the smaller model: loaded into a model that was built as at first, with gates attached, it
    makes that smaller too. What PyTorch compiled is compiled again.

    Args:
        model: with gates attached; also inside ``torch.compile``.
        optimizers: every optimizer that has parameters of ``model``.
        copies: averages of the model (EMA), made by ``AveragedModel`` or ``copy.deepcopy``: they lose the same units.
        below: P(z != 0) up to which a closed gate leaves, in [0, 1/2).

    Returns:
        How many gates have left, 0 where none could.

    Raises:
        StructureError: no gates, a model inside DistributedDataParallel (compact the one in it, and wrap it anew) or
            sharded, an optimizer whose state cannot be cut, or an argument of another kind. All is as it was then.

    Example:
        >>> import lzero, torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
        >>> gates = lzero.attach_gates(model, torch.zeros(1, 8))
        >>> with torch.no_grad():
        ...     gates["0"][4:] = -9.0
        >>> lzero.compact(model, torch.optim.Adam(model.parameters()))
        12
        >>> model[0].out_features
        4
    """
    model, gates = checked_model(model, optimizers)
    others = checked_copies(copies)
    limit = real("below", below, least=0, below=0.5, expected="a probability in [0, 1/2)", error=StructureError)
    keep = gates_that_stay(gates, limit)
    gone = int((~keep).sum())
    if gone:
        take_out(model, keep, optimizers, others)
    return gone


def take_out(
    model: nn.Module, keep: Tensor, optimizers: Iterable[torch.optim.Optimizer], copies: Sequence[nn.Module]
) -> None:
    """``model`` and ``copies`` of it without the units whose gates ``keep``, bool [G], closes."""
    for other in copies:
        theirs = root_gates(other)
        if len(theirs) != len(keep):
            raise StructureError(
                f"copies: has {len(theirs)} gates where the model has {len(keep)}; pass a copy to every compact()"
            )
    narrow_model(model, keep, optimizers, copies)


@torch.no_grad()
def gates_that_stay(gates: Gates, below: float = BELOW, reserve: float = 0.0) -> Tensor:
    """The gates, bool [G], that are not closed for good, or cannot leave one by one.

    Args:
        gates: of a model that trains.
        below: P(z != 0) up to which a closed gate leaves.
        reserve: share of every group, as it was, whose likeliest closed gates stay all the same, one at least where it
            is not 0; until a set is held.
    """
    open_ = gates.open_mask()
    stay = open_.clone() if gates.held is not None else open_ | (gates.rank() > below)
    if reserve and gates.held is None:
        stay |= _likeliest_closed(gates, open_, reserve)
    leaves = may_go(gates.plan)
    for name, where in gates.slices.items():
        if not leaves[name]:
            stay[where] = True
    if gates.masks.stepped:
        stay = gates.masks.with_floor(stay, gates.rank().double(), in_steps=True)
    if gates.owned:  # a feature goes with the unit that makes it, and stays with it
        owners = gates.owners
        features = {group.name for group in gates.plan.groups if group.kind == "input"}
        mine = torch.cat(
            [torch.full((size,), n in features) for n, size in zip(gates.slices, gates.sizes, strict=True)]
        )
        stay = torch.where(mine.to(stay.device), (owners < 0) | stay[owners.clamp_min(0)], stay)
    else:
        for group in gates.plan.groups:
            if group.kind == "input":
                stay[gates.slices[group.name]] = True
    return _alike(gates, stay)


def _likeliest_closed(gates: Gates, open_: Tensor, share: float) -> Tensor:
    """Of every group the likeliest gates that are not ``open_``, as many as that ``share`` of it as it was; [G]."""
    score, chosen = gates.rank() - 2.0 * open_, torch.zeros_like(open_)
    whole = gates.slices if gates.whole is None else gates.whole.plan.slices
    for name, where in gates.slices.items():
        count = math.ceil(share * (whole[name].stop - whole[name].start))
        best = torch.argsort(score[where], descending=True, stable=True)[:count]
        chosen[where.start + best] = True
    return chosen & ~open_


def _alike(gates: Gates, stay: Tensor) -> Tensor:
    """``stay`` with as many gates in every group of a family that a budget keeps alike, the likeliest first."""
    paths = [constraint.within or "" for constraint in asked_of(gates) if constraint.uniform]
    plan = gates.plan if gates.whole is None else gates.whole.plan
    score = gates.rank()
    for family in families(plan.groups, paths) if paths else ():
        most = max(int(stay[gates.slices[name]].sum()) for name in family)
        for name in family:
            where = gates.slices[name]
            best = torch.argsort(score[where] + 2.0 * stay[where], descending=True, stable=True)
            stay[where.start + best[:most]] = True
    return stay


def checked_model(model: Any, optimizers: Sequence[Any]) -> tuple[nn.Module, Gates]:
    """``model`` out of what compiles or averages it, and its gates.

    Raises:
        StructureError: as :func:`compact`.
    """
    if not isinstance(model, nn.Module):
        raise StructureError(f"compact: expected a model with gates attached, found {shown(model)}")
    for optimizer in optimizers:
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise StructureError(
                f"compact: expected optimizers behind the model, compact(model, optimizer), found {shown(optimizer)}"
            )
    check_not_parallel(model, "compact")
    inner = unwrap(model)
    check_unsharded(inner, "compact")
    gates = root_gates(inner)
    check_not_grown(inner, gates)
    return inner, gates


def checked_copies(copies: Any) -> list[nn.Module]:
    """The models in ``copies``, out of what averages them.

    Raises:
        StructureError: no list of models with gates.
    """
    if not isinstance(copies, list | tuple):
        raise StructureError(f"copies: expected a list of models, such as [average], found {shown(copies)}")
    return [checked_model(other, ())[0] for other in copies]
