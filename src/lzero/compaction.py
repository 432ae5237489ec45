"""When units leave a model that trains: seldom, many at once, and none that the budget may want back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from lzero.checks import real
from lzero.compact import BELOW, checked_copies, checked_model, gates_that_stay, take_out
from lzero.constraints import Budgets
from lzero.cost import Cost
from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.solver.processes import Processes

WORTH = 0.15
"""The share of the work of a forward, as it is now, from which on it is worth to build the model anew."""

RESERVE = 1 / 32
"""The share of every group that stays closed in reserve until what is shipped is settled.

A budget is met by filling what is left of it with units that fit, down to the cheapest: neurons fill the gaps of heads.
"""

_LOOKS = 50  # over a training
_ALL = 0.02  # of the work, once a set is held: it happens once


class Compaction:
    """What a Solver is given to take units out on its way: ``compaction=lzero.Compaction(model, optimizer)``.

    Fifty times in a training the solver looks which gates are closed for good (:func:`lzero.compact`). They leave
    where they do at least the share ``worth`` of the model's present work (MACs, or parameters where there are none),
    so that a training has a handful of rebuilds, after each of which ``torch.compile`` compiles once more. Once the
    deployed set is settled, all that is closed leaves, and the rest of the training has the shape of what is shipped.

    What stays always costs at least what the budget asks for at that step, in each of its parts, and has a few closed
    units of every kind (``RESERVE``): the set that is settled later lies within it, and meets the budget as closely as
    ever.

    Args:
        model: that the gates are attached to; also inside ``torch.compile``.
        optimizers: every optimizer that has parameters of it.
        copies: averages of the model, which lose the same units.
        below: P(z != 0) up to which a gate that is closed leaves.
        worth: share of the present work that has to go at least.

    Attributes:
        gates: those of the model.
        removed: gates that have left so far, by the step after which they did.

    Example:
        >>> import lzero, torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
        >>> gates = lzero.attach_gates(model, torch.zeros(1, 8))
        >>> compaction = lzero.Compaction(model, torch.optim.Adam(model.parameters()))
        >>> solver = lzero.Solver(gates, target_density=0.5, total_steps=1000, compaction=compaction)

    Raises:
        StructureError: as :func:`lzero.compact`; a parameter that trains is in none of the optimizers; or several
            processes train, each of which has to wrap its model anew.
    """

    def __init__(
        self,
        model: nn.Module,
        *optimizers: torch.optim.Optimizer,
        copies: Sequence[nn.Module] = (),
        below: float = BELOW,
        worth: float = WORTH,
    ) -> None:
        if len(Processes()) > 1:
            raise StructureError(
                "Compaction: several processes train this model, and DistributedDataParallel knows its parameters by "
                "their sizes; call lzero.compact(ddp.module, optimizer) on all of them between two epochs, and wrap it "
                "anew: ddp = DistributedDataParallel(ddp.module)"
            )
        self._model, self.gates = checked_model(model, optimizers)
        _check_held(self._model, optimizers)
        self._optimizers = optimizers
        self._copies = checked_copies(copies)
        self._below = real(
            "below", below, least=0, below=0.5, expected="a probability in [0, 1/2)", error=StructureError
        )
        self._worth = real("worth", worth, least=0, most=1, expected="a share in [0, 1]", error=StructureError)
        self.removed: dict[int, int] = {}
        self._settled = False

    @torch.no_grad()
    def look(self, budgets: Budgets, targets: Tensor, step: int, length: int) -> None:
        """Let units leave after ``step`` of a training of that ``length``, where it is time and worth it.

        Args:
            budgets: what the gates are trained for.
            targets: what the budgets ask for at that step, as densities [K].
            step: how many steps have been taken.
            length: how many it takes.
        """
        gates = self.gates
        held = gates.held is not None
        if step % max(1, length // _LOOKS) and not (held and not self._settled):
            return
        self._settled = held
        stay = gates_that_stay(gates, self._below, RESERVE)
        if bool(stay.all()) or bool((budgets.cost.fraction(stay) < targets).any() and not held):
            return
        if self._saved(gates, stay) >= (_ALL if held else self._worth):
            take_out(self._model, stay, self._optimizers, self._copies)
            self.removed[step] = int((~stay).sum())

    @staticmethod
    def _saved(gates: Gates, stay: Tensor) -> float:
        """The share of the present work that leaves."""
        work = Cost(gates, "macs" if gates.plan.positions else "params")
        return 1 - float(work.value(stay) / work.value(torch.ones_like(stay)))


def _check_held(model: nn.Module, optimizers: Iterable[torch.optim.Optimizer]) -> None:
    held = {id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and id(parameter) not in held:
            raise StructureError(
                f"Compaction: {name} trains, and none of the optimizers has it: what they remember has to become "
                "smaller with it; pass all of them, Compaction(model, *optimizers), or freeze it"
            )
