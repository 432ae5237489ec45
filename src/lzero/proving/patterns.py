"""Which gates a proof closes: uneven random patterns, chosen so that no two groups always lose alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lzero.plan.group import GateGroup
from lzero.plan.paths import covers

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

    Units of a layer are alike, blocks of a network are not: the first :func:`needed` patterns close one half of them
    each, so that every one is closed: branches while the blocks around them are open, then these.
    """
    phases = torch.randint(2, (len(groups),), generator=generator).tolist()
    orders = [torch.randperm(group.size, generator=generator) if group.blocks else None for group in groups]
    small = [group for group in groups if group.size < _SMALL]
    rounds = max(_ROUNDS, *(group.size - 1 for group in small)) if small else _ROUNDS
    levels, deepest = _levels(groups)
    for pattern in range(2 * deepest + rounds + len(small).bit_length()):
        bit = pattern - rounds - 2 * deepest
        left_open = {group.name for i, group in enumerate(small, start=1) if bit >= 0 and i >> bit & 1}
        closure: Closure = {}
        for group, phase, order in zip(groups, phases, orders, strict=True):
            if order is None:
                closure[group.name] = _gates(group.size, pattern, phase, group.name in left_open, generator, most)
            else:
                turn = pattern - 2 * (deepest - levels[group.name])
                closure[group.name] = _modules(order, turn, turn < 0 or group.name in left_open, generator)
        yield _deployable(groups, closure)


def needed(groups: Sequence[GateGroup]) -> int:
    """How many patterns it takes at least that each block and branch was closed, with all around it open."""
    return 2 + 2 * _levels(groups)[1]


def _levels(groups: Sequence[GateGroup]) -> tuple[dict[str, int], int]:
    """In how many blocks of others those of a group lie, by its name, and the largest such number."""
    paths = {block.path for group in groups for block in group.blocks}
    around = {path: sum(covers(other, path) for other in paths - {path}) for path in paths}
    levels = {group.name: max((around[block.path] for block in group.blocks), default=0) for group in groups}
    return levels, max(levels.values(), default=0)


def _modules(order: Tensor, pattern: int, left_open: bool, generator: torch.Generator) -> Tensor:
    """z [size] of whole modules, which are closed in this ``order``: a half, the other, all but one, and at random."""
    size, z = len(order), torch.ones(len(order), dtype=torch.float64)
    if left_open or size < 2:
        return z
    if pattern < 2:
        closed = order[: size // 2] if pattern == 0 else order[size // 2 :]
    elif pattern == 2:
        closed = order[1:]
    else:
        closed = order[torch.rand(size, generator=generator) < 0.5]
    z[closed[: size - 1] if len(closed) == size else closed] = 0
    return z


def _deployable(groups: Sequence[GateGroup], closure: Closure) -> Closure:
    """``closure`` with a branch opened in every group that has none in an open block, where one can be."""
    state = {
        block.path: bool(z) for group in groups for block, z in zip(group.blocks, closure[group.name], strict=False)
    }
    for group in groups:
        around = [
            [open_ for path, open_ in state.items() if path != b.path and covers(path, b.path)] for b in group.blocks
        ]
        able = [place for place, outer in enumerate(around) if all(outer)]
        z = closure[group.name]
        if able and not any(bool(z[place]) for place in able):
            z[able[0]] = 0.5
    return closure


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
