"""The numeric proof on one model: all groups at once, and where that fails by halves, down to the culprits."""

from __future__ import annotations

from collections.abc import Sequence

from lzero.plan.group import GateGroup
from lzero.plan.paths import covers
from lzero.plan.refusal import Reason, Refusal
from lzero.proving.evidence import visible_shares
from lzero.proving.random_model import RandomModel
from lzero.proving.trial import Failure, raises_alone, why_not_exact

INVISIBLE = Reason(
    "closing it changes no output, so that nothing can be proved",
    "what it makes may be unused, or multiplied by zero; if not, pass example inputs on which it matters",
)
_DRAWS = 8  # of weights and inputs, at most
_SEVERAL = 2  # culprits that make more of them likely
_NOTHING = 4  # draws by which no unit of a group has mattered: no other will do
_ENOUGH = 0.9  # of the units of a group have to matter, over all draws together


class Proof:
    """Groups of gates put to the test on a :class:`RandomModel`.

    Args:
        model: with random weights.

    Attributes:
        raised: names of the groups with which a purged model has raised.
    """

    def __init__(self, model: RandomModel) -> None:
        self._model, self.raised = model, set[str]()

    def accept(
        self, groups: Sequence[GateGroup], given: Sequence[GateGroup] = ()
    ) -> tuple[list[GateGroup], list[Refusal]]:
        """``given`` and those of ``groups`` that hold together with them, and refusals of the others."""
        accepted, refusals = list(given), list[Refusal]()
        if self._model.obstacle is not None:
            return accepted, [Refusal.of_group(g, self._model.obstacle) for g in groups]
        pending, evidence = list(groups), dict.fromkeys((group.name for group in groups), 0.0)
        for draw in range(_DRAWS):
            if not pending or (draw and not self._model.redraw(draw)):
                break
            shares = visible_shares(self._model, pending)
            held, failures = sound_together(self._model, [group for group in pending if shares[group.name]], accepted)
            refusals += [Refusal.of_group(g, failure.reason) for g, failure in failures]
            self.raised |= {group.name for group, failure in failures if failure.raised}
            failed = {group.name for group in pending if shares[group.name]} - {group.name for group in held}
            for name, share in shares.items():
                evidence[name] += share
            done = [group for group in pending if evidence[group.name] >= _ENOUGH and group.name not in failed]
            accepted += done
            gone = failed | {group.name for group in done}
            unseen = [group for group in pending if draw + 1 >= _NOTHING and not evidence[group.name]]
            refusals += [Refusal.of_group(g, INVISIBLE) for g in unseen]
            gone |= {group.name for group in unseen}
            pending = [group for group in pending if group.name not in gone]
        ordered = [group for group in groups if group in accepted]
        return [*given, *ordered], [*refusals, *(Refusal.of_group(g, INVISIBLE) for g in pending)]


def sound_together(
    model: RandomModel, groups: Sequence[GateGroup], given: Sequence[GateGroup], *, joint: bool = False
) -> tuple[list[GateGroup], list[tuple[GateGroup, Failure]]]:
    """``given`` and those of ``groups`` that are exact together with them, and the others with what fails.

    All at once; where that fails, those that the outputs tell of one by one, the groups near the module that raises on
    their own, or halves, down to the culprits.
    Once there are several, those that raise at a single closure go first, each tried alone. ``joint`` as in
    :func:`why_not_exact`.
    """
    accepted, failures = list(given), list[tuple[GateGroup, Failure]]()
    waiting = [list(groups)] if groups else []
    while waiting:
        part = waiting.pop()
        failure = why_not_exact(model, [*accepted, *part], joint=joint)
        if failure is None:
            accepted.extend(part)
        elif len(part) == 1:
            failures.append((part[0], failure))
        elif failure.raised and len(failures) >= _SEVERAL and (found := _raising(model, part)):
            failures += found
            rest = [group for group in part if all(group is not culprit for culprit, _ in found)]
            waiting += [rest] if rest else []
        else:
            waiting += _parts(part, failure)
    return accepted, failures


def _raising(model: RandomModel, part: Sequence[GateGroup]) -> list[tuple[GateGroup, Failure]]:
    found = [(group, raises_alone(model, group)) for group in part]
    return [(group, failure) for group, failure in found if failure is not None]


def _parts(part: Sequence[GateGroup], failure: Failure) -> list[list[GateGroup]]:
    """``part`` in several, what is to be tried first last: each suspect, what lies at or beside the module, a half."""
    suspects = [[group] for group in part if group.name in failure.suspects]
    if suspects:
        rest = [group for group in part if group.name not in failure.suspects]
        return [*([rest] if rest else []), *suspects]
    home = failure.path.rpartition(".")[0] if failure.path else None
    near = [g for g in part if home is not None and any(covers(home, name) for name in g.tensors)]
    if 0 < len(near) <= len(part) // 2:
        return [[group for group in part if group not in near], near]
    middle = len(part) // 2
    return [list(part[middle:]), list(part[:middle])]
