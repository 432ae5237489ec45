"""What can be gated in a model, and what cannot and why: plain data that prints as a page to read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from lzero.structure.group import GateGroup, Member, Refusal


@dataclass(frozen=True, eq=False)
class Plan:
    """The proved gate groups of one model, with the refused units and what counting needs.

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
        return sum(math.prod(shape) - self._out_of_reach(name) for name, shape in self.shapes.items())

    def __deepcopy__(self, memo: dict[int, Any]) -> Plan:
        return self  # nothing in it ever changes: copies of a model share it

    def __iter__(self) -> Iterator[GateGroup]:
        return iter(self.groups)

    def __len__(self) -> int:
        return len(self.groups)

    def __str__(self) -> str:
        share = self.reachable / max(self.parameters, 1)
        lines = [
            f"{len(self.groups)} groups, {self.size:,} gates; "
            f"they reach {self.reachable:,} of {self.parameters:,} parameters ({share:.1%})"
        ]
        names = [group.name for group in self.groups] + [refusal.name for refusal in self.refusals]
        width = max(map(len, names), default=0)
        for group in self.groups:
            lines.append(f"  {group.name:<{width}}  {group.size:>6,} {_NOUNS[group.kind]:<8} {_members(group)}")
        if self.refusals:
            lines.append(f"{len(self.refusals)} left ungated")
        for refusal in self.refusals:
            advice = f"; {refusal.advice}" if refusal.advice else ""
            lines.append(f"  {refusal.name:<{width}}  {refusal.size:>6,} {'units':<8} {refusal.reason}{advice}")
        return "\n".join(lines)

    def _out_of_reach(self, name: str) -> int:
        """Elements of a parameter that no gate owns on any dim."""
        left = list(self.shapes[name])
        for dim in range(len(left)):
            owned = [m.index.flatten() for g in self.groups for m in g.members if m.tensor == name and m.dim == dim]
            if owned:
                left[dim] -= len(torch.unique(torch.cat(owned)))
        whole = any(m.tensor == name and m.dim < 0 for g in self.groups for m in g.members)
        return 0 if whole else math.prod(left)


_NOUNS = {"unit": "units", "input": "inputs", "weight": "weights"}


def _members(group: GateGroup) -> str:
    """``made by a, with b, read by c``: the modules that the units of a group live on, each named once."""
    verbs = {"producer": "made by", "consumer": "read by", "coupled": "with"}
    parts, named = [], set()
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
