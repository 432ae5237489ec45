"""How the target falls from 1 to what was asked for, and over how many steps."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lzero.checks import real, shown, whole
from lzero.errors import LzeroWarning, SolverError

Schedule = Callable[[float, float], float]
FINETUNE = 0.2  # share of a training, at its end, in which what will be shipped is held
SHORTEST = 150
"""Optimizer steps below which a Solver warns.

Trainings of 100 steps end up to three points below their target before settling, of 200 within 1.3 points, of 350 and
more within one (``figures/robustness.py``); of 60 and 80 they are up to a quarter off (``figures/gate_rate.py``).
"""


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


@dataclass(frozen=True)
class Timetable:
    """When the target of a training has come down, and when its gates settle, in optimizer steps.

    Attributes:
        total: of the whole training; None where its end is open.
        annealed: until the target is what was asked for.
        finetune: share of the training, at its end, in which the deployed set is held.
    """

    total: int | None
    annealed: int
    finetune: float

    @property
    def length(self) -> int:
        """Steps of the whole training, or as many as the annealing suggests."""
        return 2 * self.annealed if self.total is None else self.total

    @property
    def settles_at(self) -> int | None:
        """The step after which the deployed set is held; None where it never is."""
        return self.length - round(self.finetune * self.length) if self.finetune else None


def timetable(total_steps: int | None, anneal_steps: int | None, finetune: float | None) -> Timetable:
    """The target anneals over half of the training unless told; what is shipped is held for the last fifth.

    Raises:
        SolverError: neither number of steps is known, one is no positive number of steps, or ``finetune`` is no share.
    """
    total = None if total_steps is None else step_count("total_steps", total_steps)
    if anneal_steps is None and total is None:
        raise SolverError(
            "total_steps: expected the number of optimizer steps of the whole training, such as epochs * len(loader), "
            "by which the target falls to what was asked; or give anneal_steps, where the end is open"
        )
    annealed = max(1, (total or 0) // 2) if anneal_steps is None else step_count("anneal_steps", anneal_steps)
    default = 0.0 if total is None else FINETUNE
    share = default if finetune is None else finetune
    share = real("finetune", share, least=0, below=1, expected="a share in [0, 1)", error=SolverError)
    if share and total is None:
        raise SolverError("finetune: is a share of total_steps; give total_steps too")
    return Timetable(total, annealed, share)


def warn_of_few(total: int | None, stacklevel: int, name: str = "total_steps") -> None:
    """Warn where a training of ``total`` steps is shorter than :data:`SHORTEST`; ``name`` is what it is called."""
    if total is not None and total < SHORTEST:
        warnings.warn(
            f"{name}: {total} optimizer steps are few for gates to reach a density; below about {SHORTEST}, "
            "expect settling, and not the training, to choose a part of what is shipped (the certificate says how "
            "far it was); count optimizer steps, such as epochs * len(loader), and not epochs",
            LzeroWarning,
            stacklevel=stacklevel + 1,
        )


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
