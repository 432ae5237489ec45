"""A whole number beside the tensors that loses something with every unit that leaves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Follower:
    """A number that a module keeps, and how it follows the units of one group.

    Attributes:
        path: of the module, ``""`` for the root.
        name: of its attribute, ``"num_heads"``; of an entry of its configuration, ``"config.num_heads"``.
        place: which item of it, where it is a list or tuple; -1 where it is the number itself.
        each: what it loses with each unit that leaves.
    """

    path: str
    name: str
    place: int
    each: int
