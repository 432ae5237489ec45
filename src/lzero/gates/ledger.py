"""What a training of gates keeps with them: it rides in the model's state dict, and copies have a copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from lzero.errors import SolverError

OPTIMIZER = "optimizer."
"""What the names of entries of the gates' optimizer begin with."""


class Ledger(Mapping[str, Tensor]):
    """Tensors by name: what the trainer that holds the gates has written, and what a state dict brought since.

    As a mapping it is what was written. What was brought waits, as it was, until the trainer takes it up.

    Attributes:
        loads: how many times a state dict has been brought.
        holders: how many trainers have held the gates.
    """

    def __init__(self) -> None:
        self._written: dict[str, Tensor] = {}
        self._brought: dict[str, Tensor] | None = None
        self._holder: object | None = None
        self.loads = self.holders = 0

    def __getitem__(self, name: str) -> Tensor:
        return self._written[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._written)

    def __len__(self) -> int:
        return len(self._written)

    @property
    def latest(self) -> Mapping[str, Tensor]:
        """What was brought and is not yet taken up, or else what was written."""
        return self._written if self._brought is None else self._brought

    @property
    def waiting(self) -> bool:
        """Whether something was brought that nobody has taken up."""
        return self._brought is not None

    def adopt(self) -> object:
        """A new holder of the gates, in place of the one before: what it returns is known by :meth:`is_held_by`."""
        self._holder = object()
        self.holders += 1
        return self._holder

    def is_held_by(self, holder: object) -> bool:
        """Whether ``holder`` is what :meth:`adopt` returned last; of a copy nobody's is."""
        return self._holder is holder

    def begin(self) -> None:
        """Empty the ledger: what was brought has been taken up, or is not wanted."""
        self._written.clear()
        self._brought = None

    def write(self, **entries: Tensor) -> None:
        """Enter tensors, which are not copied: what changes in place need not be entered again."""
        self._written.update(entries)

    def note(self, **entries: Tensor) -> None:
        """Enter tensors where :attr:`latest` looks: beside what was brought, if that still waits."""
        (self._written if self._brought is None else self._brought).update(entries)

    def change(self, made: Callable[[str, Tensor], Tensor]) -> None:
        """Let every entry be what is ``made`` of its name and value, also where it was brought and waits."""
        for entries in (self._written, self._brought or {}):
            entries.update({name: made(name, value) for name, value in entries.items()})

    def check(self, state: Mapping[str, Tensor], gates: int) -> None:
        """Raise where ``state`` is not that of a training of so many ``gates``, or of another one than this.

        Raises:
            SolverError: with both, and the way out.
        """
        wrong = [name for name, value in state.items() if not isinstance(value, Tensor)]
        held = state.get("held")
        if not wrong and held is not None and held.shape != (gates,):
            wrong = ["held"]
        if wrong:
            raise SolverError(
                f"the saved state of the training: {', '.join(wrong)} is not as it was saved; load the state dict of a "
                "model with the same gates, unchanged"
            )
        theirs, mine = _whole(state), None if self._holder is None else _whole(self._written)
        if theirs is not None and mine is not None and not torch.equal(theirs.cpu(), mine):
            one, two = (bytes(text.tolist()).decode(errors="replace") for text in (theirs, mine))
            raise SolverError(
                f"the saved gates were trained for {one}, these are trained for {two}; build the Solver as it was, "
                "or load before it is built and give it fresh=True"
            )

    def bring(self, state: Mapping[str, Tensor]) -> None:
        """Let copies of the tensors of a state dict wait; an empty one leaves what waits already."""
        brought = {name: value.detach().clone() for name, value in state.items()}
        self._brought = brought or self._brought
        self.loads += 1

    def __getstate__(self) -> dict[str, object]:
        """The state of a copy or a pickle, which nobody holds."""
        return {**self.__dict__, "_holder": None}


def _whole(state: Mapping[str, Tensor]) -> Tensor | None:
    """What a training is for, of one in stages that of all of them together."""
    return state.get("course", state.get("asked"))
