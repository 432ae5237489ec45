"""What a unit is: the positions, over all tensors of a model, that one gate switches together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lzero.plan.block import Block
from lzero.plan.follower import Follower
from lzero.plan.norm import Norm
from lzero.plan.router import Router

Role = Literal["consumer", "producer", "coupled"]
Kind = Literal["unit", "input", "weight", "depth", "expert"]


@dataclass(frozen=True, eq=False)
class Member:
    """The positions of one tensor dim that belong to the gates of a group.

    Attributes:
        tensor: name in ``model.state_dict()`` (the first alias where a parameter is tied).
        dim: the dim that ``index`` runs over; -1 means the flattened tensor (weight gates).
        index: long, [k, r]: gate j of k owns the r positions ``index[j]``.
        role: ``"consumer"`` reads the unit and is multiplied by its gate; ``"producer"`` makes the unit;
            ``"coupled"`` (bias, normalisation, buffer) only follows it. All are counted and purged.
    """

    tensor: str
    dim: int
    index: Tensor  # [k, r]
    role: Role

    @property
    def width(self) -> int:
        """Positions per gate, r."""
        return int(self.index.shape[1])

    def expand(self, values: Tensor, length: int, fill: float) -> Tensor:
        """``values`` [k] of the gates at their positions of a vector [length], ``fill`` at all others.

        Example:
            >>> member = Member("fc.weight", 1, torch.tensor([[0, 1], [4, 5]]), "consumer")
            >>> member.expand(torch.tensor([7, 8]), 6, fill=0).tolist()
            [7, 7, 0, 0, 8, 8]
        """
        spread = values.new_full((length,), fill)
        spread[self.index.to(values.device)] = values[:, None].expand(-1, self.width)
        return spread

    def gather(self, values: Tensor) -> Tensor:
        """``values`` [length] at the positions of every gate, [k, r]: what :meth:`expand` spreads, brought back."""
        return values[self.index.to(values.device)]

    def owned(self, length: int) -> Tensor:
        """The positions of a vector [length] that any of the gates owns, bool."""
        return self.expand(torch.ones(len(self.index), dtype=torch.bool), length, fill=False)


@dataclass(frozen=True, eq=False)
class GateGroup:
    """Units that share their members: the channels of one convolution, the neurons of one layer.

    Attributes:
        name: readable and unique in a plan, e.g. ``"conv1"`` or ``"fc1.input"``.
        size: the number of gates, k.
        kind: ``"unit"``, ``"input"`` (features that a Linear reads), ``"weight"``, ``"depth"`` (whole modules) or
            ``"expert"``.
        members: every tensor dim that the units live on.
        numbers: the whole numbers of modules that follow the units, as they were proved to.
        norms: the layers that normalise over the units, which are asked for as ``"width"``.
        blocks: the modules that the gates switch, one each, which are asked for as ``"depth"``; of experts those that
            leave with them, where each is a module.
        router: of kind ``"expert"`` where they are chosen or weighed.
    """

    name: str
    size: int
    kind: Kind
    members: tuple[Member, ...]
    numbers: tuple[Follower, ...] = ()
    norms: tuple[Norm, ...] = ()
    blocks: tuple[Block, ...] = ()
    router: Router | None = None

    @property
    def consumers(self) -> tuple[Member, ...]:
        """The members that read the unit, where the gates multiply."""
        return tuple(m for m in self.members if m.role == "consumer")

    @property
    def tensors(self) -> tuple[str, ...]:
        """Every tensor that its gates can take something from, once."""
        names = (*(m.tensor for m in self.members), *(name for block in self.blocks for name in block.tensors))
        return tuple(dict.fromkeys(names))
