"""The other ways that a forward can take where it decides by values: each decision once the other way."""

from __future__ import annotations

import dis
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from lzero.tracing.decisions import Answer, Decisions, Site, Way
from lzero.tracing.guards import in_library, is_ours

_TRIED, _TIMES, _DRAWS = 32, 8, 8  # ways at most; times at one site that are told apart; draws of weights and inputs

_TOGETHER = 2  # decisions that do not follow from each other, and are taken the other way at once


@dataclass(frozen=True)
class Explored:
    """What the other ways of a forward are.

    Attributes:
        ways: those that were taken, with the parameters that none before has used.
        open: places at which values decide more than was tried.
    """

    ways: Mapping[Way, frozenset[str]] = field(default_factory=dict)
    open: tuple[str, ...] = ()


def explore(
    run: Callable[[Way], Decisions],
    first: Decisions,
    unreached: Callable[[], frozenset[str]],
    undo: Callable[[], Callable[[], None]],
) -> Explored:
    """Every decision of the ``first`` forward, and of those that follow, taken the other way.

    A way that the forward itself refuses, by a ``raise`` or ``assert``, is none of its ways; one that fails otherwise,
    or that ``run`` gives up, is open. While parameters are
    ``unreached``, more is tried, of which what reaches none is taken back: other weights and inputs, decisions from a
    later time on, two at once, and other whole numbers, which may be sizes.

    Args:
        run: one forward.
        first: what the forward that decided by values alone has seen.
        unreached: the parameters that no forward has used yet.
        undo: marks what is noted so far; calling what it returns goes back there.
    """
    return _Exploration(run, unreached, undo).all(first)


class _Exploration:
    """Ways that are taken, ways to take in any case, and those to take while parameters are unreached."""

    def __init__(
        self,
        run: Callable[[Way], Decisions],
        unreached: Callable[[], frozenset[str]],
        undo: Callable[[], Callable[[], None]],
    ) -> None:
        self._run, self._unreached, self._undo = run, unreached, undo
        self._ways, self._open = dict[Way, frozenset[str]](), dict[Site, None]()
        self._next, self._more = deque[Way](), deque[Way]()
        self._known, self._single = set[tuple[Site, bool | None]](), list[tuple[Site, Answer]]()

    def all(self, first: Decisions) -> Explored:
        self._note(first, Way())
        if first.seen:
            self._more.extendleft(Way(draw=draw) for draw in range(_DRAWS, 0, -1))
        for _ in range(_TRIED):
            if self._next:
                self._take(self._next.popleft(), anyhow=True)
            elif self._more and self._unreached():
                self._take(self._more.popleft(), anyhow=False)
        self._open |= dict.fromkeys(site for way in (*self._next, *self._more) for site in way.answers)
        taken = dict.fromkeys(site for way in self._ways for site in way.answers)
        if self._unreached() and len(taken) > _TOGETHER:
            self._open |= taken
        return Explored(self._ways, tuple(dict.fromkeys(map(str, self._open))) if self._unreached() else ())

    def _take(self, way: Way, *, anyhow: bool) -> None:
        before, back = self._unreached(), self._undo()
        try:
            decisions = self._run(way)
        except Exception as error:
            if self._unreached() < before or not _is_refused(error):
                self._open |= dict.fromkeys(way.answers)
            back()
            return
        if anyhow or self._unreached() < before:
            self._ways[way] = before - self._unreached()
            self._note(decisions, way)
        else:
            back()

    def _note(self, decisions: Decisions, way: Way) -> None:
        """Remember to take every new decision of a forward the other way."""
        for site, said in decisions.seen.items():
            if site.number:
                self._open[site] = None
            for one in dict.fromkeys(said):
                if (site, one) not in self._known:
                    self._known.add((site, one))
                    for value in _others(one) if site.kind != "values" else ():
                        self._add(way, site, value, len(said))

    def _add(self, way: Way, site: Site, value: bool, times: int) -> None:
        answer = Answer(value, 0, times)
        (self._more if site.kind == "int" else self._next).append(way.but(site, answer))
        self._more.extend(way.but(site, Answer(value, time, times)) for time in range(1, min(times, _TIMES)))
        self._more.extend(way.but(*other).but(site, answer) for other in self._single if other[0] != site)
        self._single.append((site, answer))


def _is_refused(error: Exception) -> bool:
    """Whether the user's own code has raised ``error`` itself: by ``raise`` or ``assert``."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or in_library(trace.tb_frame) or is_ours(trace.tb_frame):
        return False
    return dis.opname[trace.tb_frame.f_code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"


def _others(said: bool | None) -> Iterator[bool]:
    if said is not True:
        yield True
    if said is not False:
        yield False
