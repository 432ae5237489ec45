"""One stage of a descent: a Solver whose target falls from where the stage before has ended, and not from 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lzero.constraints import Constraint
from lzero.errors import SolverError
from lzero.gates.gates import Gates
from lzero.solver.solver import Solver


class DescentStage(Solver):
    """A :class:`lzero.Solver` whose annealed target is e + (s - e)(1 - progress)^3, from s to e.

    Args:
        gates: what ``attach_gates`` returned.
        constraints: e of every part.
        starts: s of every part, [K].
        course: what the whole descent is for, as bytes; it is kept with the gates, and is that of every stage.
        options: further arguments of the Solver.
    """

    def __init__(
        self, gates: Gates, constraints: Sequence[Constraint], starts: Tensor, course: Tensor, **options: Any
    ) -> None:
        self._starts, self._course = starts.to(gates.log_alpha.device), course
        super().__init__(gates, constraints=constraints, **options)

    def _annealed(self, asked: Tensor) -> Tensor:
        progress = self._annealing
        return torch.lerp(asked, self._full * self._starts, (1 - progress) ** 3) if progress < 1 else asked

    def _check(self, left: Mapping[str, Tensor]) -> None:
        super()._check(left)
        if not torch.equal(left["course"].cpu(), self._course):
            raise SolverError(
                "Descent: these gates have been trained by a descent to other targets, or of another length; build it "
                "as it was to go on with that training, or pass fresh=True to begin another one from where they are"
            )

    def _tensors(self) -> dict[str, Tensor]:
        return {**super()._tensors(), "course": self._course, "starts": self._starts}

    def _take(self, tensors: Mapping[str, Tensor]) -> None:
        super()._take(tensors)
        self._starts = tensors["starts"].to(self._starts)

    def _move(self, device: torch.device) -> None:
        super()._move(device)
        self._starts = self._starts.to(device)
