"""A layer that normalises over units: where closed ones must not be seen, and how they are kept from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

Statistic = Literal["mean", "square", "length"]


@dataclass(frozen=True, eq=False)
class Norm:
    """The positions of the input of a module that belong to the gates of a group: it normalises over them.

    Attributes:
        path: of the module.
        dim: of its input that the units lie on; counted from the end, but for channels in groups.
        over: the dims of its input that the statistics are taken over, counted from the end.
        channel_groups: into how many the channels of dim 1 are cut, each with statistics of its own; 0 where they are
            taken over ``over``.
        statistic: ``"mean"`` subtracts a mean and divides by a deviation, ``"square"`` divides by a root mean square,
            ``"length"`` by a root of a sum of squares.
        index: long, [k, r]: gate j of k owns the r positions ``index[j]`` of ``dim``.
        length: how many positions ``dim`` has.
        weight: parameter of the module that purging multiplies by sqrt(n / k) where k of n positions stay; empty where
            the module has none that multiplies as it is.
        bias: parameter of the module that is added at the end, empty where there is none.
        eps: attribute of the module that purging multiplies by n / k; empty where none has to follow.
    """

    path: str
    dim: int
    over: tuple[int, ...]
    channel_groups: int
    statistic: Statistic
    index: Tensor  # [k, r]
    length: int
    weight: str = ""
    bias: str = ""
    eps: str = ""

    def expand(self, values: Tensor, fill: float) -> Tensor:
        """``values`` [k] of the gates at their positions of a vector [length], ``fill`` at all others."""
        spread = values.new_full((self.length,), fill)
        spread[self.index] = values[:, None].expand(-1, self.index.shape[1])
        return spread

    def at(self, path: str) -> Norm:
        """The same of the module at ``path``."""
        return replace(self, path=path)
