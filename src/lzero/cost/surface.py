"""Surfaces of many layers at once: bilinear between grid points, with their slopes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lzero.latency.layer import Layer


class Surfaces:
    """One surface for each of L layers, as :meth:`lzero.latency.Layer.predict` has it.

    Args:
        layers: of a table.
        smooth: leave out the widths right above another (:meth:`lzero.latency.Layer.knots`), and with them the steps.
    """

    def __init__(self, layers: Sequence[Layer], *, smooth: bool) -> None:
        chosen = [layer.knots() if smooth else _all(layer) for layer in layers]
        rows = [[layer.row_widths[n] for n in which] for layer, (which, _) in zip(layers, chosen, strict=True)]
        columns = [[layer.column_widths[n] for n in which] for layer, (_, which) in zip(layers, chosen, strict=True)]
        self._widths = _padded([*rows, *columns])  # [2 L, m], of all rows before all columns
        self._across = self._widths.shape[1]
        values = torch.zeros(len(layers), self._across, self._across, dtype=torch.float64)
        for place, (layer, (down, across)) in enumerate(zip(layers, chosen, strict=True)):
            grid = torch.tensor([[layer.ms[i][j] for j in across] for i in down], dtype=torch.float64)
            values[place] = grid[-1, -1]
            values[place, : len(down), : len(across)] = grid
            values[place, len(down) :, : len(across)] = grid[-1]
            values[place, : len(down), len(across) :] = grid[:, -1:]
        self._values = values.flatten(1)  # [L, m m]

    def to(self, device: torch.device) -> None:
        """Move to ``device``, in place."""
        self._widths, self._values = self._widths.to(device), self._values.to(device)

    def value(self, widths: Tensor) -> Tensor:
        """Milliseconds at widths [2 L, N], all rows before all columns: [L, N]."""
        (a, b, c, d), (right, down), _ = self._around(widths)
        return torch.lerp(torch.lerp(a, b, down), torch.lerp(c, d, down), right)

    def at(self, widths: Tensor) -> tuple[Tensor, Tensor]:
        """Milliseconds at widths [2 L, N], [L, N], and their slopes by these, [2 L, N]."""
        (a, b, c, d), (right, down), slopes = self._around(widths)
        above, below = torch.lerp(a, b, down), torch.lerp(c, d, down)
        by_side = torch.cat([below - above, torch.lerp(b - a, d - c, right)])
        return torch.lerp(above, below, right), by_side * slopes

    def _around(self, widths: Tensor) -> tuple[list[Tensor], tuple[Tensor, ...], Tensor]:
        """The values around each place, how far it is from the first row and column, and the slopes of that."""
        index, share, slope = _cell(self._widths, widths)
        i, j = index.chunk(2)
        first = i * self._across + j
        corners = [self._values.gather(1, first + more) for more in (0, 1, self._across, self._across + 1)]
        return corners, share.chunk(2), slope


def _all(layer: Layer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return tuple(range(len(layer.row_widths))), tuple(range(len(layer.column_widths)))


def _padded(widths: Sequence[Sequence[int]]) -> Tensor:
    """Rising widths of every layer in rows of one length, two at least: behind the last one they go on."""
    count = max(2, *(len(row) for row in widths))
    return torch.tensor(
        [[*row, *(row[-1] + n for n in range(1, count - len(row) + 1))] for row in widths], dtype=torch.float64
    )


def _cell(widths: Tensor, at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The number of the width before each place [L, N], how far it is to the next, and the slope of that by the place.

    Outside the first and the last width the slope is 0; on one of them it is that from the left.
    """
    index = torch.searchsorted(widths[:, 1:-1].contiguous(), at.contiguous())
    low, high = widths.gather(1, index), widths.gather(1, index + 1)
    share = (at - low) / (high - low)
    inside = (share >= 0) & (share <= 1)
    return index, share.clamp(0, 1), inside / (high - low)
