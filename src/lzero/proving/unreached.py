"""Weights that no forward has reached, though one may that decides by other values: which units they could read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lzero.plan.group import GateGroup
from lzero.plan.paths import covers, owner
from lzero.plan.refusal import Reason, Refusal
from lzero.tracing.tracer import Trace

_ADVICE = "pass example inputs that reach it; or remove it, or pass what makes these units to ignore="


def unreached_weights(trace: Trace, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """The parameters that no forward has used, where values decide more than could be tried; else none.

    What a forward never uses whatever its values are is no part of the model.
    """
    return [name for name in shapes if name not in trace.users] if trace.explored.open else []


def split_by_unreached(
    groups: Sequence[GateGroup], trace: Trace, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[list[GateGroup], list[Refusal]]:
    """The groups that no unreached weight can read, and refusals of the others.

    A weight may read units that lie on a dim as long as one of its own, or flattened into it, where the module that
    would call it is given them, or has weights of its own that they live on.
    """
    unreached = unreached_weights(trace, shapes)
    kept, refusals = list[GateGroup](), list[Refusal]()
    for group in groups:
        name = next(
            (name for name in unreached if _fits(shapes[name], group, shapes) and _meets(name, group, trace)), ""
        )
        if not name:
            kept.append(group)
            continue
        text = f"{name} may read it: no forward has reached it, and values decide whether one does"
        reason = Reason(f"{text} ({trace.explored.open[0]})", _ADVICE)
        refusals.append(Refusal.of(group.name, group.size, group.members, reason))
    return kept, refusals


def _fits(shape: Sequence[int], group: GateGroup, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    lengths = {shapes[member.tensor][member.dim] for member in group.members if member.tensor in shapes}
    return any(size > 1 and size % length == 0 for size in shape for length in lengths)


def _meets(name: str, group: GateGroup, trace: Trace) -> bool:
    home = owner(name)
    while home and home not in trace.given:
        home = home.rpartition(".")[0]
    places = {owner(member.tensor) for member in group.members}
    places |= {user for member in group.members for user in trace.users.get(member.tensor, ())}
    if any(covers(home, place) for place in places):
        return True
    member, classes = group.members[0], trace.classes
    start = next(slot.start for slot in classes.slots if (slot.tensor, slot.dim) == (member.tensor, member.dim))
    units = classes.everywhere[start + member.index[:, 0].numpy()]
    return any(bool(np.isin(classes.everywhere[labels], units).any()) for labels in trace.given[home])
