"""A training whose state rides with the gates, and that goes on where an earlier part of it has stopped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lzero.errors import SolverError
from lzero.gates.gates import Gates
from lzero.solver.asked import check_same_training


class Resumable:
    """What holds the gates of a model, and keeps its own state in their ledger.

    The ledger rides in the model's state dict, so that a training that saves its model and its own optimizer resumes to
    the bit: what a state dict brings is taken up at the next step.

    Args:
        gates: to hold.
        asked: what the training is for, as bytes; it must be the same where it is resumed.
        fresh: begin a new training on gates that have seen one.
    """

    def __init__(self, gates: Gates, asked: Tensor, fresh: bool) -> None:
        self.gates = gates
        self._asked, self._fresh = asked, fresh
        self._device, self._dtype = gates.log_alpha.device, gates.log_alpha.dtype
        self._whole = gates.whole

    def _tensors(self) -> dict[str, Tensor]:
        """All of its state, by name."""
        return {}

    def _take(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what :meth:`_tensors` returned."""

    def _needs(self, name: str) -> bool:
        """Whether it cannot go on without the tensor of that name."""
        return True

    def _move(self, device: torch.device) -> None:
        """Follow the gates to ``device``, and to another dtype."""

    def _narrow(self, where: Tensor) -> None:
        """Go on with the gates ``where``, long, of those that there were: the others have left with their units."""

    def _begin(self) -> None:
        """Take the gates over, with what an earlier part of the same training left; at the end of a constructor.

        Raises:
            SolverError: they have been trained for something else.
        """
        gates = self.gates
        left = gates.ledger.latest
        if self._fresh or not int(left.get("steps", torch.zeros(1))[0]):
            left = {}
            gates.hold(None)
        if left:
            self._check(left)
        self._go_on({name: tensor.clone() for name, tensor in left.items()})
        self._holder = gates.ledger.adopt()
        gates.history.step()

    def _continue(self) -> None:
        """Look whether these gates are still its own, on what device, and whether a state dict has been loaded."""
        gates = self.gates
        if not gates.ledger.is_held_by(self._holder):
            raise SolverError(
                f"{type(self).__name__}: another one was built on these gates since; step that one, and keep one "
                "Solver, Penalty or baseline a model"
            )
        if gates.whole is not None and gates.whole is not self._whole:
            self._narrow(gates.whole.places_in(self._whole))
            self._whole = gates.whole
            self._write()
        if (gates.log_alpha.device, gates.log_alpha.dtype) != (self._device, self._dtype):
            self._device, self._dtype = gates.log_alpha.device, gates.log_alpha.dtype
            self._move(self._device)
            self._write()
        if gates.ledger.waiting:
            self._check(gates.ledger.latest)
            self._go_on(gates.ledger.latest)

    def _check(self, left: Mapping[str, Tensor]) -> None:
        needed = {name: tensor for name, tensor in self._tensors().items() if self._needs(name)}
        check_same_training(type(self).__name__, left, self._asked, needed)

    def _go_on(self, left: Mapping[str, Tensor]) -> None:
        """Continue from what is ``left``, where there is anything, and begin the ledger anew."""
        ledger = self.gates.ledger
        if left:
            self._take(left)
        ledger.begin()
        if "settled" in left and self.gates.held is not None:  # for the certificate of gates that are held
            ledger.write(settled=left["settled"])
        self._write()

    def _write(self) -> None:
        """Put all that a resumption needs into the ledger of the gates."""
        self.gates.ledger.write(asked=self._asked, **self._tensors())

    def __getstate__(self) -> dict[str, Any]:
        """The state of a copy or a pickle, which takes its gates along."""
        return {**self.__dict__, "_holds": self.gates.ledger.is_held_by(self._holder)}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._holder = object()
        if self.__dict__.pop("_holds"):  # copied with its gates, it is theirs; and shares memory with their ledger
            self._holder = self.gates.ledger.adopt()
            self._write()

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_") and "_holder" in self.__dict__:
            raise SolverError(
                f"{type(self).__name__}.{name}: what a training is for stays as it is; build another one with "
                "fresh=True to go on with other values"
            )
        object.__setattr__(self, name, value)
