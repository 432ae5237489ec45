"""Weights that no forward has reached, though one may that decides by other values: which units they could read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lzero.plan.group import GateGroup
from lzero.plan.paths import covers, owner
from lzero.plan.refusal import Reason, Refusal
from lzero.tracing.tracer import Trace

_ADVICE = "pass example inputs that reach it; or remove it, or pass to ignore= what makes the units"


def split_by_unreached(
    groups: Sequence[GateGroup], trace: Trace, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[list[GateGroup], list[Refusal]]:
    """The groups that no unreached weight can read, and refusals of the others.

    Only where the forward decides by more values than could be tried; a weight that it never uses whatever they are is
    none. A weight may read units that live where it is called, or further out, on dims that fit one of its own.
    """
    unreached = [name for name in shapes if name not in trace.users] if trace.explored.open else []
    kept, refusals = list[GateGroup](), list[Refusal]()
    for group in groups:
        name = next((name for name in unreached if _may_read(name, group, trace, shapes)), None)
        if name is None:
            kept.append(group)
        else:
            text = f"{name} may read it: no forward has reached it, and the forward decides by values"
            reason = Reason(f"{text} ({trace.explored.open[0]})", _ADVICE)
            refusals.append(Refusal.of(group.name, group.size, group.members, reason))
    return kept, refusals


def _may_read(name: str, group: GateGroup, trace: Trace, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    lengths = {shapes[m.tensor][m.dim] for m in group.members if m.tensor in shapes and m.dim >= 0}
    if not any(size > 1 and size % length == 0 for size in shapes[name] for length in lengths):
        return False
    home = owner(name)
    while home and home not in trace.entered:
        home = home.rpartition(".")[0]
    places = {owner(member.tensor) for member in group.members}
    places |= {user for member in group.members for user in trace.users.get(member.tensor, ())}
    return any(covers(home, place) for place in places)
