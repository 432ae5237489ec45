"""Which gates a proof closes: uneven random patterns, chosen so that no two groups always lose alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lzero.plan.group import GateGroup

Closure = dict[str, Tensor]
"""z [k] in float64 by group name: 0 for a closed gate, a fraction in (0.1, 1) for an open one."""

_ROUNDS = 3
_SMALL = 8


def closures(groups: Sequence[GateGroup], generator: torch.Generator, most: float = 1.0) -> Iterator[Closure]:
    """Three patterns that close some gates of every group, more where there are small ones.

    Each group keeps a random number of gates, odd and even in turn, and in one pattern a single one; a small group
    runs through all the numbers that it can keep. Small groups may lose equally many in all of these patterns, as the
    two halves of a split of four channels do: later patterns tell them apart, where the i-th small group stays open
    in those patterns whose bit is set in i. Of large groups no more than the share ``most`` stays open.
    """
    phases = torch.randint(2, (len(groups),), generator=generator).tolist()
    small = [group for group in groups if group.size < _SMALL]
    rounds = max(_ROUNDS, *(group.size - 1 for group in small)) if small else _ROUNDS
    for pattern in range(rounds + len(small).bit_length()):
        bit = pattern - rounds
        left_open = {group.name for i, group in enumerate(small, start=1) if bit >= 0 and i >> bit & 1}
        yield {
            group.name: _gates(group.size, pattern, phase, group.name in left_open, generator, most)
            for group, phase in zip(groups, phases, strict=True)
        }


def _gates(size: int, pattern: int, phase: int, left_open: bool, generator: torch.Generator, most: float) -> Tensor:
    """z [size]: open gates in a number that depends on the pattern."""
    z = torch.rand(size, generator=generator, dtype=torch.float64) * 0.9 + 0.1
    if left_open or size < 2:
        return z
    if size < _SMALL:
        kept = 1 + (pattern + phase) % (size - 1)
    elif pattern == 1 + phase:  # of three patterns one leaves one gate, and not to all groups alike
        kept = 1
    else:
        kept = 1 + int(torch.randint(max(1, int(most * (size - 1))), (), generator=generator))  # at most size - 1
        if (kept + phase + (pattern > 0)) % 2:
            kept += 1 if kept < size - 1 else -1
    z[torch.randperm(size, generator=generator)[kept:]] = 0
    return z
