"""What can be gated in a model, and what cannot and why: plain data that prints as a page to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lzero.structure.group import GateGroup, Refusal


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
    positions: Mapping[str, int]
    granularity: Mapping[str, str] = field(default_factory=lambda: {"": "unit"})
    example_inputs: Any = field(default=None, repr=False)

    @property
    def size(self) -> int:
        """The number of gates over all groups."""
        return sum(group.size for group in self.groups)

    def __iter__(self):
        return iter(self.groups)

    def __len__(self) -> int:
        return len(self.groups)
