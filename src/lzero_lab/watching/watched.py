"""One training, or several, as their files tell them: state, phase, speed, and the time that is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lzero.recorder import Row

_RECENT = 10  # rows that the speed is taken of
_MISS = 1e-6  # by which an annealed target may lie above the target and be there


@dataclass(frozen=True)
class Watched:
    """One training as its files tell it.

    Attributes:
        name: of the folder or file, or what the study calls it.
        state: ``"waiting"`` for its first row, ``"training"``, ``"finished"``, ``"stopped"`` before its end,
            ``"failed"``, or ``"unknown"``: rows of somebody's own loop that have not grown for a while.
        rows: so far.
        total_steps: optimizer steps of the whole training, where that is known.
        who: the process that is at work, or ``""``.
        age: seconds since the last row was written.
        about: what is trained, in words.
        ends: what a finished training has shipped: ``shipped``, ``validation_error``, ``test_error``; or ``problem``.
    """

    name: str
    state: str
    rows: Sequence[Row]
    total_steps: int | None = None
    who: str = ""
    age: float = 0.0
    about: str = ""
    ends: Mapping[str, Any] | None = None

    @property
    def last(self) -> Row:
        """The latest row; empty while there is none."""
        return self.rows[-1] if self.rows else {}

    @property
    def progress(self) -> float | None:
        """The share of the training that is done; None where its length is not known."""
        if self.state == "finished":
            return 1.0
        if not self.total_steps:
            return None
        return min(1.0, float(self.last.get("step", 0)) / self.total_steps)

    @property
    def target(self) -> float | None:
        """The density that was asked for; None without one, or with several."""
        return next((float(row["target"]) for row in self.rows if "target" in row), None)

    @property
    def multiplier(self) -> float | None:
        """λ of the last row; of several parts the largest."""
        found = [
            float(value) for name, value in self.last.items() if name == "multiplier" or name.endswith(":multiplier")
        ]
        return max(found, default=None)

    @property
    def phase(self) -> str:
        """What the training is doing, in words."""
        row = self.last
        if self.state in ("waiting", "finished", "stopped", "failed"):
            return {"waiting": "waiting for the first row"}.get(self.state, self.state)
        if float(row.get("settled", 0)):
            return "fine-tuning, gates settled"
        pairs = [
            (float(value), float(row[name.replace("annealed_target", "target")]))
            for name, value in row.items()
            if name.endswith("annealed_target") and name.replace("annealed_target", "target") in row
        ]
        if any(annealed > target + _MISS for annealed, target in pairs):
            return "annealing the target"
        if pairs:
            return "at the target"
        return "under a penalty" if "multiplier" in row else "training"

    @property
    def steps_per_second(self) -> float | None:
        """Of the latest rows, in seconds of training steps; None where rows hold no ``seconds`` and ``step``."""
        some = [row for row in self.rows[-_RECENT - 1 :] if "seconds" in row and "step" in row]
        first: Row = {"seconds": 0.0, "step": 0} if len(some) == 1 and len(self.rows) == 1 else some[0] if some else {}
        if not some:
            return None
        seconds = float(some[-1]["seconds"]) - float(first["seconds"])
        steps = float(some[-1]["step"]) - float(first["step"])
        return steps / seconds if seconds > 0 and steps > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Until the last step, at the speed of the latest rows."""
        speed = self.steps_per_second
        if self.state != "training" or not speed or not self.total_steps:
            return None
        left = (self.total_steps - float(self.last.get("step", 0))) / speed
        return max(0.0, left - self.age)


@dataclass(frozen=True)
class Several:
    """The trainings of a comparison, a sweep or a study.

    Attributes:
        name: of the folder.
        kind: ``"compare"``, ``"sweep"`` or ``"study"``.
        trainings: in the order in which they were begun, of a study those that are at work first.
        total: how many there will be, where that is known.
        who: the process that is at work, or ``""``.
    """

    name: str
    kind: str
    trainings: Sequence[Watched]
    total: int | None
    who: str

    @property
    def state(self) -> str:
        """As of one training."""
        if self.who:
            return "training"
        done = [one.state in ("finished", "failed") for one in self.trainings]
        return "finished" if done and all(done) and len(done) == (self.total or len(done)) else "stopped"
