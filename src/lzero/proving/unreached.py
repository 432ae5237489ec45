"""Weights that no forward has reached, though one may that decides by other values: which units they could read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lzero.plan.group import GateGroup
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

    A weight may read units that lie on a dim as long as one of its own, or flattened into it.
    """
    unreached = unreached_weights(trace, shapes)
    kept, refusals = list[GateGroup](), list[Refusal]()
    for group in groups:
        lengths = {shapes[m.tensor][m.dim] for m in group.members if m.tensor in shapes}
        fit = (n for n in unreached if any(size > 1 and not size % of for size in shapes[n] for of in lengths))
        name = next(fit, None)
        if name is None:
            kept.append(group)
            continue
        text = f"{name} may read it: no forward has reached it, and values decide whether one does"
        reason = Reason(f"{text} ({trace.explored.open[0]})", _ADVICE)
        refusals.append(Refusal.of(group.name, group.size, group.members, reason))
    return kept, refusals
