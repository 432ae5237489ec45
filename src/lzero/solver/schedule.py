"""How the target falls from 1 to what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lzero.errors import SolverError

Schedule = Callable[[float, float], float]
_ANNEAL_STEPS = 1000


def cubic(target: float, progress: float) -> float:
    """Annealed target: from 1 at ``progress`` 0 to ``target`` at 1, as target + (1 - target)(1 - progress)^3."""
    return target + (1 - target) * (1 - min(progress, 1.0)) ** 3


def fixed(target: float, progress: float) -> float:
    """The target itself, from the first step on."""
    return target


SCHEDULES: Mapping[str, Schedule] = {"cubic": cubic, "fixed": fixed}


def anneal_length(total_steps: int | None, anneal_steps: int | None) -> int:
    """Steps over which the target anneals: half of the training where its length is known."""
    for name, value in (("total_steps", total_steps), ("anneal_steps", anneal_steps)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise SolverError(f"{name}: expected a positive number of optimizer steps, found {value!r}")
    if anneal_steps is not None:
        return anneal_steps
    return max(1, total_steps // 2) if total_steps is not None else _ANNEAL_STEPS


def schedule_of(schedule: str | Schedule) -> Schedule:
    """The schedule of that name, or the function itself."""
    if callable(schedule):
        return schedule
    if schedule not in SCHEDULES:
        raise SolverError(f"schedule: expected one of {', '.join(SCHEDULES)} or a function, found {schedule!r}")
    return SCHEDULES[schedule]
