"""How the numbers that modules keep may be read: as the forward tells of them, then as their names suggest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from torch import nn

from lzero.plan.group import GateGroup
from lzero.plan.ownership import reach
from lzero.plan.refusal import Refusal
from lzero.proving.told_numbers import told_numbers
from lzero.surgery.guessed_numbers import guessed_numbers
from lzero.tracing.tracer import Trace


class Readings:
    """Groups of gates with the numbers that are to follow them, and other numbers where the proof refuses these.

    Args:
        groups: that the trace has found.
        trace: of the forward.
        model: a private copy, as it was traced.

    Attributes:
        groups: with the numbers that the forward tells of, and those that are guessed where it tells nothing.
        refusals: of groups that no number can follow.
    """

    def __init__(self, groups: Sequence[GateGroup], trace: Trace, model: nn.Module) -> None:
        self._model, self._told = model, told_numbers(groups, trace.uses, trace.classes, model)
        conflicts = self._told.conflicts
        self.refusals = [Refusal.of_group(g, conflicts[g.name]) for g in groups if g.name in conflicts]
        self.groups = self._guessed([group for group in groups if group.name not in conflicts])

    @property
    def extent(self) -> tuple[int, int]:
        """Parameters that the groups could remove, and how many gates they have for it."""
        shapes = {name: tuple(tensor.shape) for name, tensor in self._model.named_parameters()}
        return reach(self.groups, shapes), sum(group.size for group in self.groups)

    def others(self, proved: Sequence[GateGroup], refused: Iterable[str]) -> Iterator[list[GateGroup]]:
        """For the groups whose names are ``refused``, with other numbers than before: to be tried one list at a time.

        First as if the refused ones were no groups, then without any guess.
        """
        refused = set(refused)
        left = [group for group in self.groups if group.name in refused]
        seen = {group.name: [group.numbers] for group in left}
        sure = [replace(group, numbers=self._told.numbers.get(group.name, ())) for group in left]
        alone = [self._guessed([*proved, group])[-1] for group in left]
        for changed in (alone, sure):
            new = [group for group in changed if group.numbers not in seen[group.name]]
            for group in new:
                seen[group.name].append(group.numbers)
            if new:
                yield new

    def _guessed(self, groups: Sequence[GateGroup]) -> list[GateGroup]:
        told = self._told
        more = guessed_numbers(self._model, groups, lambda path, name: (path, name) in told.known)
        return [replace(g, numbers=(*told.numbers.get(g.name, ()), *more.get(g.name, ()))) for g in groups]
