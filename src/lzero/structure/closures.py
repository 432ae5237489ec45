"""Which gates a proof closes: uneven random patterns, chosen so that no two groups always lose alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lzero.structure.group import GateGroup

Closure = dict[str, Tensor]
"""z [k] in float64 by group name: 0 for a closed gate, a fraction in (0.1, 1) for an open one."""

_ROUNDS = 3
_SMALL = 8


def closures(groups: Sequence[GateGroup], generator: torch.Generator) -> Iterator[Closure]:
    """Three patterns that close some gates of every group, then some that leave chosen small groups open.

    Each group keeps a random number of gates, odd and even in turn, always at least one. Small groups may lose equally
    many by chance in all three, as the two halves of a split of four channels do: the later patterns tell them
    apart, where the i-th small group stays open in those patterns whose bit is set in i.
    """
    phases = torch.randint(2, (len(groups),), generator=generator).tolist()
    small = [group.name for group in groups if group.size < _SMALL]
    for pattern in range(_ROUNDS + len(small).bit_length()):
        bit = pattern - _ROUNDS
        left_open = {name for i, name in enumerate(small, start=1) if bit >= 0 and i >> bit & 1}
        yield {
            group.name: _gates(group.size, (pattern + phase) % 2, group.name in left_open, generator)
            for group, phase in zip(groups, phases, strict=True)
        }


def _gates(size: int, parity: int, left_open: bool, generator: torch.Generator) -> Tensor:
    """z [size]: a random number of open gates of the given parity where the size allows it."""
    z = torch.rand(size, generator=generator, dtype=torch.float64) * 0.9 + 0.1
    if left_open or size < 2:
        return z
    kept = 1 + int(torch.randint(size - 1, (), generator=generator))  # 1 ... size - 1
    if kept % 2 != parity:
        kept += 1 if kept < size - 1 else -1
    z[torch.randperm(size, generator=generator)[max(1, kept) :]] = 0
    return z
