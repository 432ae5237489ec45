"""How the target falls from 1 to what was asked for, and over how many steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lzero.checks import shown, whole
from lzero.errors import SolverError

Schedule = Callable[[float, float], float]
FINETUNE = 0.2  # share of a training, at its end, in which what will be shipped is held


def cubic(target: float, progress: float) -> float:
    """Annealed target: from 1 at ``progress`` 0 to ``target`` at 1, as target + (1 - target)(1 - progress)^3."""
    return target + (1 - target) * (1 - min(progress, 1.0)) ** 3


def fixed(target: float, progress: float) -> float:
    """The target itself, from the first step on."""
    return target


SCHEDULES: Mapping[str, Schedule] = {"cubic": cubic, "fixed": fixed}


def step_count(name: str, value: object) -> int:
    """``value`` where it is a positive number of optimizer steps.

    Raises:
        SolverError: anything else.
    """
    return whole(name, value, least=1, expected="a positive number of optimizer steps", error=SolverError)


def anneal_length(total_steps: int | None, anneal_steps: int | None) -> int:
    """Steps over which the target anneals: half of the training unless told.

    Raises:
        SolverError: neither is known, or one is no positive number of steps.
    """
    total = None if total_steps is None else step_count("total_steps", total_steps)
    if anneal_steps is not None:
        return step_count("anneal_steps", anneal_steps)
    if total is None:
        raise SolverError(
            "total_steps: expected the number of optimizer steps of the whole training, such as epochs * len(loader), "
            "by which the target falls to what was asked; or give anneal_steps, where the end is open"
        )
    return max(1, total // 2)


def schedule_of(schedule: object) -> Schedule:
    """The schedule of that name, or the function itself.

    Raises:
        SolverError: neither.
    """
    if isinstance(schedule, str) and schedule in SCHEDULES:
        return SCHEDULES[schedule]
    if not isinstance(schedule, str) and callable(schedule):
        return schedule
    raise SolverError(f"schedule: expected one of {', '.join(SCHEDULES)} or a function, found {shown(schedule)}")
