"""A whole module that one gate switches: a block of a network, or a branch of one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Closed = Literal["removed", "identity", "zero"]


@dataclass(frozen=True)
class Block:
    """A module that a gate can close.

    Attributes:
        path: of the module.
        closed: what a closed one does. ``"removed"`` and ``"identity"`` give back the first tensor of floats that they
            are called with; the one leaves its Sequential or ModuleList, in the place of the other a module stands that
            passes on. ``"zero"`` gives zeros: a branch that is added to a stream.
        tensors: the parameters that live in it alone, by their names in the plan.
        returns: how many results it returns in a tuple, the first of which is the stream; 0 where it returns a tensor.
    """

    path: str
    closed: Closed
    tensors: tuple[str, ...]
    returns: int = 0

    def below(self, start: str) -> Block:
        """The same by the names that it has in the module at ``start``."""
        cut = len(start) + 1 if start else 0
        return replace(self, path=self.path[cut:], tensors=tuple(name[cut:] for name in self.tensors))
