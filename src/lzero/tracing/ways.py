"""The other ways that a forward can take where it decides by values: each decision once the other way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lzero.tracing.decisions import Answer, Decisions, Site, Way

_TRIED, _TIMES, _DRAWS = 24, 8, 4  # ways at most; times at one site that are told apart; draws of weights and inputs


@dataclass(frozen=True)
class Explored:
    """Attributes:

    ways: those that were taken, beside the first.
    open: places at which values decide more than was tried.
    """

    ways: Sequence[Way] = ()
    open: tuple[str, ...] = ()


def explore(
    run: Run, first: Decisions, unreached: Callable[[], int], undo: Callable[[], Callable[[], None]]
) -> Explored:
    """Every decision of the ``first`` forward, and of those that follow, taken the other way.

    A way that raises is none of the model's: what checks its inputs says so. While parameters are ``unreached``, more
    is tried, of which what reaches none is taken back: other weights and inputs, decisions from a later time on, and
    other numbers.

    Args:
        run: one forward.
        first: what the forward that decided by values alone has seen.
        unreached: how many parameters no forward has used yet.
        undo: marks what is noted so far; calling what it returns goes back there.
    """
    queue, later = deque[Way](), deque[Way]()
    known, sites, ways = set[tuple[Site, bool | None]](), dict[Site, None](), list[Way]()

    def note(decisions: Decisions, way: Way) -> None:
        for site, said in decisions.seen.items():
            sites[site] = None
            for one in dict.fromkeys(said):
                if (site, one) not in known:
                    known.add((site, one))
                    for value in _others(one):
                        new = [way.but(site, Answer(value, time, len(said))) for time in range(min(len(said), _TIMES))]
                        (later if site.number else queue).append(new[0])
                        later.extend(new[1:])

    def take(way: Way, *, anyhow: bool) -> None:
        before, back = unreached(), undo()
        try:
            decisions = run(way)
        except Exception:  # the forward's own: it must not be taken
            back()
            return
        if anyhow or unreached() < before:
            ways.append(way)
            note(decisions, way)
        else:
            back()

    note(first, Way())
    later.extendleft(Way(draw=draw) for draw in range(_DRAWS, 0, -1) if sites)
    tried = 0
    while tried < _TRIED and (queue or (later and unreached())):
        tried += 1
        must = bool(queue)
        take(queue.popleft() if must else later.popleft(), anyhow=must)
    left = [site for way in queue for site in way.answers] + [site for site in sites if site.number]
    return Explored(ways, tuple(dict.fromkeys(map(str, left))))


def _others(said: bool | None) -> Iterator[bool]:
    if said is not True:
        yield True
    if said is not False:
        yield False
