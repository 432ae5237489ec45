"""A part of a network that one gate switches as a whole: a module that is left out, or a branch that adds nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Closed = Literal["identity", "zero", "removed"]


@dataclass(frozen=True)
class Block:
    """A module that leaves with its gate.

    Attributes:
        path: of the module.
        closed: what stands in its place where its gate is 0: ``"identity"`` hands its input on, ``"zero"`` is a branch
            that adds nothing, ``"removed"`` is not called.
        tensors: names of the parameters that leave with it.
    """

    path: str
    closed: Closed
    tensors: tuple[str, ...]
