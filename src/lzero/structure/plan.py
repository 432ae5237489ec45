"""What can be gated in a model, and what cannot and why: plain data that prints as a page to read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from lzero.errors import StructureError
from lzero.structure.group import GateGroup, Member, Refusal
from lzero.structure.record import record, unrecorded
from lzero.structure.stored import read, write

_TABLES = ("shapes", "positions", "granularity")
_HEADING = "lzero plan 1"


@dataclass(frozen=True, eq=False)
class Plan:
    """The proved gate groups of one model, with the refused units and what counting needs; it never changes.

    Attributes:
        groups: proved groups, in the order in which the model's tensors are registered.
        refusals: units left ungated, each with its reason.
        shapes: shape of every parameter, by its first name in ``model.named_parameters()``.
        positions: for each weight that a matrix product or convolution reads, how many times one forward of the
            example inputs uses each of its elements; MACs of the tensor = positions * number of elements.
        granularity: what was asked for, module path prefix -> ``"unit"``, ``"input"`` or ``"weight"``.
        example_inputs: what the model was traced with, for the check after purging.
    """

    groups: tuple[GateGroup, ...]
    refusals: tuple[Refusal, ...]
    shapes: Mapping[str, tuple[int, ...]]
    positions: Mapping[str, float]
    granularity: Mapping[str, str] = field(default_factory=lambda: {"": "unit"})
    example_inputs: Any = field(default=None, repr=False)

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

    def __post_init__(self) -> None:
        for name in _TABLES:
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __getstate__(self) -> dict[str, Any]:
        """The fields, with plain dicts: a mapping proxy cannot be pickled."""
        held = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: dict(value) if name in _TABLES else value for name, value in held.items()}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)
        self.__post_init__()

    def save(self, path: str | PathLike[str]) -> None:
        """The plan as a file, for :meth:`load`: discovery of a large model need not be repeated for a fresh one.

        The file appears whole or not at all. Its example inputs are stored as tensors on the CPU.

        Raises:
            StructureError: the file cannot be written, or the example inputs are not nested tuples, lists and dicts of
                tensors, numbers and words.
        """
        write(path, _HEADING, record(self))

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Plan:
        """The plan in a file that :meth:`save` wrote; reading it runs no code.

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
        owned: dict[str, dict[int, list[Tensor]]] = {}
        for group in groups:
            for member in group.members:
                if member.tensor in self.shapes:  # buffers cost nothing
                    owned.setdefault(member.tensor, {}).setdefault(member.dim, []).append(member.index.flatten())
        return sum(_owned_elements(self.shapes[name], dims) for name, dims in owned.items())

    def __str__(self) -> str:
        return page(self)


def _owned_elements(shape: Sequence[int], dims: Mapping[int, list[Tensor]]) -> int:
    """Elements of a tensor of ``shape`` on a position that is owned on some dim."""
    if -1 in dims:
        return math.prod(shape)
    free = [size - len(torch.unique(torch.cat(dims[d]))) if d in dims else size for d, size in enumerate(shape)]
    return math.prod(shape) - math.prod(free)


def page(plan: Plan) -> str:
    """A plan to read: by module, in the model's order, what is gated and what it reaches, what is not and why."""
    place = {name: position for position, name in enumerate(plan.shapes)}
    entries: list[tuple[int, str, str]] = []  # position in the model, path, what to say of it
    for group in plan.groups:
        first = min((place[m.tensor] for m in group.members if m.tensor in place), default=len(place))
        stake = f"{plan.reach([group]):,} parameters"
        entries.append((first, group.name, f"{group.size:>6,} {_NOUNS[group.kind]:<8}{stake:>22}   {_members(group)}"))
    for refusal in plan.refusals:
        first = min((place[name] for name in refusal.tensors if name in place), default=len(place))
        advice = f"; {refusal.advice}" if refusal.advice else ""
        entries.append((first, refusal.name, f"{refusal.size:>6,} {'left':<8}{refusal.reason}{advice}"))
    entries.sort(key=lambda entry: entry[0])
    width = max((len(name.rpartition(".")[2]) for _, name, _ in entries), default=0) + 2
    folders: dict[str, list[str]] = {}
    for _, name, text in entries:
        folder, _, leaf = name.removesuffix(_INPUT).rpartition(".")
        leaf += _INPUT if name.endswith(_INPUT) else ""
        indent = "  " if folder else ""
        folders.setdefault(folder, []).append(f"{indent}{leaf:<{width + len(_INPUT) - len(indent)}}{text}")
    reached = plan.reachable
    lines = [
        f"{len(plan.groups)} groups, {plan.size:,} gates; they reach {reached:,} of {plan.parameters:,} parameters "
        f"({reached / max(plan.parameters, 1):.1%}); left ungated: {len(plan.refusals)}"
    ]
    for folder, texts in folders.items():
        lines += [folder, *texts] if folder else texts
    return "\n".join(lines)


_INPUT = ".input"
_NOUNS = {"unit": "units", "input": "inputs", "weight": "weights"}


def _members(group: GateGroup) -> str:
    """``read by a, with b``: the modules that the units of a group live on, but for the one that names the group."""
    verbs = {"consumer": "read by", "producer": "also made by", "coupled": "with"}
    parts, named = [], {group.name}
    for role, verb in verbs.items():
        places = [_place(member) for member in group.members if member.role == role]
        new = [place for place in dict.fromkeys(places) if role == "consumer" or place not in named]
        named.update(new)
        if new:
            parts.append(f"{verb} {', '.join(new)}")
    return ", ".join(parts)


def _place(member: Member) -> str:
    """Path of the module that owns the tensor; the tensor itself where the model owns it."""
    path = member.tensor.rpartition(".")[0] or member.tensor
    return path if member.width == 1 else f"{path} ({member.width} each)"
