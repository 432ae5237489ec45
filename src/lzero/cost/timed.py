"""What a table of latencies says of gates: every layer a surface over two widths, which are sums over runs of gates.

With S the expected widths of a layer, linear in the sums A over runs as the axes of a tensor are, f its surface and p
the gates of the blocks that it stands in, a part takes

    before + sum over its layers of f(S_rows, S_columns) * product over its blocks of p

The surface of a deployed set is the table's, bilinear between the widths that were timed. What training descends on is
smoother: the time of a convolution rises by steps, between which its slope is 0, and the smooth surface goes from edge
to edge of them. It is f(E[width]), not E[f(width)]: they differ by the curvature of f over the spread of the width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lzero.cost.surface import Surfaces
from lzero.cost.table import CONSTANT, Axis, Entry, Run
from lzero.errors import BudgetError
from lzero.latency.layer import Side
from lzero.latency.table import Table
from lzero.plan.paths import covers
from lzero.plan.plan import Plan

Part = tuple[Table | None, tuple[str, ...]]


class Timed:
    """Milliseconds of K parts, 0 for those without a table, as functions of the sums over R runs, [R].

    Args:
        parts: for each its table, None where it counts something else, and its module paths.
        entries: the tensors of the plan.
        plan: of the gates.
        runs: of gates.

    Attributes:
        pattern: float64 [K, R], 1 where a part depends on a run.

    Raises:
        BudgetError: a table of another model.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        entries: Sequence[Entry],
        plan: Plan,
        runs: Sequence[Run],
    ) -> None:
        by_name = {entry.name: entry for entry in entries}
        tables = list(dict.fromkeys(table for table, _ in parts if table is not None))
        for table in tables:
            _check(table, by_name, plan)
        layers = [(table, layer) for table in tables for layer in table.layers]
        self._deployed = Surfaces([layer for _, layer in layers], smooth=False)
        self._smooth = Surfaces([layer for _, layer in layers], smooth=True)
        rows = [_summed(layer.rows, by_name) for _, layer in layers]
        columns = [_summed(layer.columns, by_name) for _, layer in layers]
        blocks = [by_name[layer.rows[0][0]].blocks for _, layer in layers]
        most = max(map(len, blocks))
        padded = [axis for number in range(most) for axis in _column(blocks, number)]
        self._layers = len(layers)
        self._base, self._matrix = _linear([*rows, *columns, *padded], len(runs))  # [(2 + N) L], [(2 + N) L, R]
        weight = [
            [float(table == of and any(covers(path, layer.path) for path in paths)) for of, layer in layers]
            for table, paths in parts
        ]
        self._weight = torch.tensor(weight, dtype=torch.float64)  # [K, L]
        self._weights = self._weight.T.repeat(2 + most, 1)  # [(2 + N) L, K]
        before = [table.before if table is not None and "" in paths else 0.0 for table, paths in parts]
        self._before = torch.tensor(before, dtype=torch.float64)  # [K]
        depends = (self._matrix != 0).view(2 + most, len(layers), len(runs)).any(0)
        self.pattern = ((self._weight @ depends.double()) > 0).double()
        self.parts = [table is not None for table, _ in parts]

    def to(self, device: torch.device) -> None:
        """Move every table to ``device``, in place."""
        for surfaces in (self._deployed, self._smooth):
            surfaces.to(device)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))

    def deployed(self, sums: Tensor) -> Tensor:
        """What deployed sets take, by their ``sums`` over runs, [R, N]: float64 [K, N]."""
        axes = torch.addmm(self._base[:, None], self._matrix, sums)  # [(2 + N) L, N]
        value = self._deployed.value(axes[: 2 * self._layers])
        return torch.addmm(self._before[:, None], self._weight, value * self._blocks(axes).prod(0))

    def expected(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """What is expected at ``sums`` [R], [K], and its slopes by them, [R, K]."""
        axes = torch.addmv(self._base, self._matrix, sums)[:, None]
        value, slopes = self._smooth.at(axes[: 2 * self._layers])
        blocks = self._blocks(axes)
        if len(blocks):
            alive = blocks.prod(0)
            others = [torch.cat([blocks[:n], blocks[n + 1 :]]).prod(0) for n in range(len(blocks))]
            slopes = torch.cat([slopes * alive.repeat(2, 1), *(value * other for other in others)])
            value = value * alive
        by_axis = self._weights * slopes  # [(2 + N) L, K]
        return torch.addmv(self._before, self._weight, value[:, 0]), self._matrix.T @ by_axis

    def _blocks(self, axes: Tensor) -> Tensor:
        """Of [(2 + N) L, E] those of the blocks, [N, L, E]."""
        return axes[2 * self._layers :].view(-1, self._layers, axes.shape[1])


def _check(table: Table, entries: dict[str, Entry], plan: Plan) -> None:
    """Raise where ``table`` is of another model than ``plan``."""
    way_out = "measure this one: table=lzero.latency.measure(model, inputs)"
    timed = {name for layer in table.layers for side in (layer.rows, layer.columns) for name, *_ in side}
    for layer in table.layers:
        for name, dim, length in (*layer.rows, *layer.columns):
            shape = plan.shapes.get(name, ())
            if dim >= len(shape) or shape[dim] != length:
                found = f"shape {list(shape)}" if shape else "no such tensor"
                raise BudgetError(
                    f"latency: the table is of another model: expected {length} on dim {dim} of {name}, found {found}; "
                    f"{way_out}"
                )
    missing = [name for name in plan.positions if name in entries and entries[name].axes and name not in timed]
    if missing:
        raise BudgetError(f"latency: the table is of another model, and says nothing of {missing[0]}; {way_out}")


def _summed(side: Side, entries: dict[str, Entry]) -> Axis:
    """The axis of the sum of some dims."""
    base, amounts = 0.0, dict[int, float]()
    for name, dim, length in side:
        own, terms = entries[name].along(dim, length)
        base += own
        for run, amount in terms:
            amounts[run] = amounts.get(run, 0.0) + amount
    return base, tuple(amounts.items())


def _column(blocks: Sequence[tuple[Axis, ...]], number: int) -> list[Axis]:
    return [axes[number] if number < len(axes) else CONSTANT for axes in blocks]


def _linear(axes: Sequence[Axis], runs: int) -> tuple[Tensor, Tensor]:
    """Bases [A] and amounts [A, R] of axes."""
    matrix = torch.zeros(len(axes), runs, dtype=torch.float64)
    for place, (_, terms) in enumerate(axes):
        for run, amount in terms:
            matrix[place, run] = amount
    return torch.tensor([base for base, _ in axes], dtype=torch.float64), matrix
