"""What can be gated in a model, and what cannot and why: plain data that prints as a page to read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from types import MappingProxyType
from typing import Any

from torch import Tensor

from lzero.errors import StructureError
from lzero.plan.group import GateGroup
from lzero.plan.ownership import Maps, flat_order, maps_of, owners_of, reach, slices_of
from lzero.plan.page import page
from lzero.plan.record import record, unrecorded
from lzero.plan.refusal import Refusal
from lzero.plan.remainder import Check, Counted, Remainder
from lzero.plan.storage import read, write
from lzero.plan.table import PlanTable, plan_table
from lzero.plan.widths import checked_round_to, steps_of

_TABLES = ("shapes", "positions", "granularity")
_HEADING = "lzero plan 3"


@dataclass(frozen=True, eq=False)
class Plan:
    """The proved gate groups of one model, with the refused units and what counting needs; it never changes.

    Attributes:
        groups: proved groups, in the order in which the model's tensors are registered.
        refusals: units left ungated, each with its reason.
        shapes: shape of every parameter, by its first name in ``model.named_parameters()``.
        positions: for each weight that a matrix product or convolution reads, how many times one forward of the
            example inputs uses each of its elements; MACs of the tensor = positions * number of elements.
        granularity: what was asked for, module path prefix -> ``"unit"``, ``"input"``, ``"weight"`` or ``"width"``.
        example_inputs: what the model was traced with, for the check after purging.
        states: names of what an encoder makes for the decoder of the same forward, returned beside the results, that
            loses features with the groups.
        round_to: what the widths that are shipped are multiples of, as :func:`lzero.attach_gates` takes it; floors are
            counted by it. :func:`lzero.discover` leaves it at 1, and ``dataclasses.replace(plan, round_to=8)`` sets it.

    Raises:
        StructureError: a malformed ``round_to``.
    """

    groups: tuple[GateGroup, ...]
    refusals: tuple[Refusal, ...]
    shapes: Mapping[str, tuple[int, ...]]
    positions: Mapping[str, float]
    granularity: Mapping[str, str] = field(default_factory=lambda: {"": "unit"})
    example_inputs: object = field(default=None, repr=False)
    states: tuple[str, ...] = ()
    round_to: int | Mapping[str, int] = 1

    @property
    def size(self) -> int:
        """The number of gates over all groups."""
        return sum(group.size for group in self.groups)

    @property
    def parameters(self) -> int:
        """Parameters of the model."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def reachable(self) -> int:
        """Parameters that at least one gate can remove."""
        return self.reach(self.groups)

    @cached_property
    def flat_groups(self) -> tuple[GateGroup, ...]:
        """The groups in the order in which their G gates are numbered: those that others own behind these."""
        return flat_order(self.groups)

    @property
    def flat_sizes(self) -> tuple[int, ...]:
        """How many gates each of these has."""
        return tuple(group.size for group in self.flat_groups)

    @cached_property
    def slices(self) -> Mapping[str, slice]:
        """Group name -> the numbers of its gates."""
        return MappingProxyType(slices_of(self.flat_groups))

    @cached_property
    def owners(self) -> Tensor | None:
        """For every gate the gate that owns it, -1 where none does, long [G]; None where no gate is owned."""
        owners = owners_of(self.flat_groups, self.shapes)
        return owners if owners is not None and bool((owners >= 0).any()) else None

    @cached_property
    def steps(self) -> Mapping[str, int]:
        """Group name -> how many of its gates open at a time, in the order of :attr:`flat_groups`; most often 1.

        Raises:
            StructureError: ``round_to`` has a path that leads to no weight of a group.
        """
        steps = steps_of(self.flat_groups, self.shapes, self.round_to)
        return MappingProxyType(dict(zip(self.slices, steps, strict=True)))

    def maps(self) -> Maps:
        """The gate of each position, G for an ungated one, of every (tensor, dim) that gates multiply.

        Made anew each time: with a gate for each weight they are as long as the weights.
        """
        return maps_of(self.flat_groups, self.shapes)

    def __post_init__(self) -> None:
        for name in _TABLES:
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        asked = checked_round_to(self.round_to)
        object.__setattr__(self, "round_to", asked if isinstance(asked, int) else MappingProxyType(asked))

    def __getstate__(self) -> dict[str, Any]:
        """The fields, with plain dicts: a mapping proxy cannot be pickled."""
        held = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: dict(value) if isinstance(value, MappingProxyType) else value for name, value in held.items()}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)
        self.__post_init__()

    def save(self, path: str | PathLike[str]) -> None:
        """The plan as a file, for :meth:`load`: discovery of a large model need not be repeated for a fresh one.

        The file appears whole or not at all. Its example inputs are stored as tensors on the CPU.

        Args:
            path: of the file.

        Raises:
            StructureError: the file cannot be written, or the example inputs are not nested tuples, lists and dicts of
                tensors, numbers and words.
        """
        write(path, _HEADING, record(self.__getstate__()))

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Plan:
        """The plan in the file ``path`` that :meth:`save` wrote; reading it runs no code.

        Raises:
            StructureError: no such file, or a damaged one.
        """
        content = read(path, _HEADING)
        try:
            fields = unrecorded(content)
        except StructureError as error:
            raise StructureError(f"{path}: holds no plan: {error}; save it again") from error
        return cls(**fields)

    def __deepcopy__(self, memo: dict[int, Any]) -> Plan:
        return self  # nothing in it ever changes: copies of a model share it

    def __iter__(self) -> Iterator[GateGroup]:
        return iter(self.groups)

    def __len__(self) -> int:
        return len(self.groups)

    def reach(self, groups: Sequence[GateGroup]) -> int:
        """Parameters that at least one gate of ``groups`` can remove."""
        return reach(groups, self.shapes)

    def floor(self, measure: Counted = "params") -> float:
        """The lowest density that the gates can reach, every group at one step, of ``measure``: params or MACs."""
        return self.left(0.0, measure)

    def left(self, share: float, measure: Counted = "params") -> float:
        """The density that is left where every group keeps this ``share`` of its units, rounded up, one step at least.

        Of whole blocks the cheapest stay.

        Args:
            share: of the units of every group, in [0, 1].
            measure: ``"params"`` or ``"macs"``.

        Raises:
            BudgetError: a share outside [0, 1], or another measure.
        """
        return self._remainder.density(share, measure)

    def floor_parts(self, measure: Counted = "params") -> dict[str, float]:
        """The modules that the floor of ``measure`` is made of, with their shares of the whole cost, largest first."""
        return self._remainder.parts(measure)

    def check(self, target: float, measure: Counted = "params") -> Check:
        """Whether a ``target`` density of ``measure`` can be met by the model; true where it can, and a line to print.

        Example:
            >>> from lzero import discover
            >>> from torch import nn, zeros
            >>> plan = discover(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)), zeros(1, 8))
            >>> print(plan.check(0.05))  # doctest: +ELLIPSIS
            0.05 of the params: not satisfiable, what is not gated and one unit of every group cost 0.07303; ...

        Raises:
            BudgetError: a target outside (0, 1], or another measure.
        """
        return self._remainder.check(target, measure)

    def table(self) -> PlanTable:
        """What could be gated, layer by layer: units, parameters, MACs, and what stays of them at the floor.

        Example:
            >>> from lzero import discover
            >>> from torch import nn, zeros
            >>> plan = discover(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)), zeros(1, 8))
            >>> print(plan.table())  # doctest: +NORMALIZE_WHITESPACE, +ELLIPSIS
                 units  parameters   share  floor  MACs   share  floor
            0       16         144   80.9%   6.2%   128   80.0%   6.2%
            2                   34   19.1%  11.8%    32   20.0%   6.2%
            all                178  100.0%   7.3%   160  100.0%   6.2%
            left whole, ...
        """
        return plan_table(self.groups, self.refusals, self.shapes, self.positions, self._remainder)

    @cached_property
    def _remainder(self) -> Remainder:
        return Remainder(self.flat_groups, self.shapes, self.positions, self.steps)

    def __str__(self) -> str:
        return page(self.groups, self.refusals, self.shapes, self.positions, self.states, self.steps)
