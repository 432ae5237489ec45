"""The numeric proof on one model: all groups at once, and where that fails by halves, down to the culprits."""

from __future__ import annotations

from collections.abc import Sequence

from lzero.plan.group import GateGroup
from lzero.plan.refusal import Reason, Refusal
from lzero.proving.evidence import visible_shares
from lzero.proving.random_model import RandomModel
from lzero.proving.trial import why_not_exact

_INVISIBLE = Reason(
    "closing it changes no output, so that nothing can be proved",
    "what it makes may be unused, or multiplied by zero; if not, pass example inputs on which it matters",
)
_DRAWS = 8  # of weights and inputs, at most
_ENOUGH = 0.9  # of the units of a group have to matter, over all draws together


class Proof:
    """Groups of gates put to the test on a :class:`RandomModel`.

    Args:
        model: with random weights.
    """

    def __init__(self, model: RandomModel) -> None:
        self._model = model

    def accept(
        self, groups: Sequence[GateGroup], given: Sequence[GateGroup] = ()
    ) -> tuple[list[GateGroup], list[Refusal]]:
        """``given`` and those of ``groups`` that hold together with them, and refusals of the others."""
        accepted, refusals = list(given), list[Refusal]()
        if self._model.obstacle is not None:
            return accepted, [Refusal.of(g.name, g.size, g.members, self._model.obstacle) for g in groups]
        pending, evidence = list(groups), dict.fromkeys((group.name for group in groups), 0.0)
        for draw in range(_DRAWS):
            if not pending or (draw and not self._model.redraw(draw)):
                break
            shares = visible_shares(self._model, pending)
            held, failures = sound_together(self._model, [group for group in pending if shares[group.name]], accepted)
            refusals += [Refusal.of(g.name, g.size, g.members, reason) for g, reason in failures]
            failed = {group.name for group in pending if shares[group.name]} - {group.name for group in held}
            for name, share in shares.items():
                evidence[name] += share
            done = [group for group in pending if evidence[group.name] >= _ENOUGH and group.name not in failed]
            accepted += done
            gone = failed | {group.name for group in done}
            pending = [group for group in pending if group.name not in gone]
        ordered = [group for group in groups if group in accepted]
        return [*given, *ordered], [*refusals, *(Refusal.of(g.name, g.size, g.members, _INVISIBLE) for g in pending)]


def sound_together(
    model: RandomModel, groups: Sequence[GateGroup], given: Sequence[GateGroup], *, joint: bool = False
) -> tuple[list[GateGroup], list[tuple[GateGroup, Reason]]]:
    """``given`` and those of ``groups`` that are exact together with them, and the others with their reasons.

    All at once; where that fails, halves, down to the culprits. ``joint`` as in :func:`why_not_exact`.
    """
    accepted, failures = list(given), list[tuple[GateGroup, Reason]]()
    waiting = [list(groups)] if groups else []
    while waiting:
        part = waiting.pop()
        failure = why_not_exact(model, [*accepted, *part], joint=joint)
        if failure is None:
            accepted.extend(part)
        elif len(part) == 1:
            failures.append((part[0], failure))
        else:
            middle = len(part) // 2
            waiting += [part[middle:], part[:middle]]
    return accepted, failures
