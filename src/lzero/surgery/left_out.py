"""What stands in the place of a closed module that cannot leave: it passes on what it is given, or gives zeros."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lzero.host.first_tensor import first_tensor
from lzero.plan.block import Block

MARK = "purged_closed"
"""The buffer of such a module, by which a state dict tells: how many results it returns, 0 for a tensor alone; negative
and one less for zeros."""


class LeftOut(nn.Module):
    """A module without parameters in the place of a block or branch that purging has closed.

    It returns the first tensor of floats that it is called with, or zeros like it; beside it None for everything
    else that the module before returned.

    Args:
        zero: whether it gives zeros.
        returns: how many results it returns in a tuple; 0 where it returns a tensor.
    """

    def __init__(self, *, zero: bool, returns: int) -> None:
        super().__init__()
        self.zero, self.returns = zero, returns
        self.register_buffer(MARK, torch.tensor(-1 - returns if zero else returns))

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Its first tensor [...], or zeros [...]."""
        given = first_tensor((inputs, named))
        made: Tensor | None = torch.zeros_like(given) if self.zero and given is not None else given
        return made if not self.returns else (made, *[None] * (self.returns - 1))

    def extra_repr(self) -> str:
        """What it gives, for ``print(model)``."""
        return "zeros" if self.zero else "passes on"


def stand_in(block: Block) -> LeftOut:
    """What takes the place of ``block`` when it is closed."""
    return LeftOut(zero=block.closed == "zero", returns=block.returns)


def restored(mark: Tensor) -> LeftOut:
    """The module whose buffer was saved as ``mark``."""
    number = int(mark)
    return LeftOut(zero=number < 0, returns=-1 - number if number < 0 else number)
