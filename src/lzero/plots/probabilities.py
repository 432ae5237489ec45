"""Gate probabilities over time: whether the gates have made up their minds."""

from __future__ import annotations

import re

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from lzero.errors import RecordError
from lzero.plots.style import COLOURS, canvas, moment_ticks, styled
from lzero.plots.table import Numbers, Rows, checked, numbers


@styled()
def gate_histogram(rows: Rows, *, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """A histogram of P(z != 0) for every epoch, side by side; a gate above the line at 1/2 is open in evaluation.

    The colour is the share of all gates, on a square-root scale so that the few that are still moving show.

    Args:
        rows: ``epoch`` (else ``step``, else the row number) and the counts ``p_00``, ``p_01``, ... of equal bins
            of 0..1, from the lowest.
        ax: axes of the caller's.

    Raises:
        RecordError: no rows, no bins, or a row without a single gate.
    """
    table = checked(rows, "gate_histogram")
    bins = sorted({name for row in table for name in row if re.fullmatch(r"p_\d+", name)})
    if not bins:
        raise RecordError(
            "plots.gate_histogram: no columns p_00, p_01, ...; record them: each counts the gates in one bin of 0..1"
        )
    counts = np.nan_to_num(np.stack([numbers(table, name) for name in bins]))  # [bins, times]
    gates = counts.sum(axis=0)
    if not gates.all():
        number = int(np.argmin(gates)) + 1
        raise RecordError(f"plots.gate_histogram: row {number} counts no gates; leave it out")
    time = next((name for name in ("epoch", "step") if all(name in row for row in table)), "row")
    moments = np.arange(1.0, len(table) + 1) if time == "row" else numbers(table, time)

    figure, axes = canvas(ax, height=4.8)
    mesh = axes.pcolormesh(
        _edges(moments),
        np.linspace(0, 1, len(bins) + 1),
        100 * counts / gates,
        cmap="Blues",
        norm=PowerNorm(0.5, vmin=0, vmax=100),
        rasterized=True,  # as vectors, viewers draw hairlines between the cells
    )
    axes.axhline(0.5, color=COLOURS[1], linestyle=(0, (4, 2)), linewidth=1.4)
    axes.set(xlabel=time, ylabel="probability that a gate is open, P(z ≠ 0)", ylim=(0, 1))
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    moment_ticks(axes, moments, 9)
    axes.grid(False)
    axes.set_title(f"{int(gates[-1]):,} gates; above 1/2 (dashed) a gate is open in evaluation")
    bar = figure.colorbar(mesh, ax=axes, ticks=[0, 1, 5, 10, 25, 50, 100], pad=0.02)
    bar.set_label("share of gates (%)")
    bar.outline.set_visible(False)
    return figure, axes


def _edges(moments: Numbers) -> Numbers:
    """Cell borders half way between the moments, the outer ones as far out as their neighbours.

    Raises:
        RecordError: the moments do not increase.
    """
    if len(moments) == 1:
        return np.array([moments[0] - 0.5, moments[0] + 0.5])
    if not (np.diff(moments) > 0).all():
        raise RecordError(
            "plots.gate_histogram: the time column must increase from row to row; pass the rows of one run"
        )
    middles = (moments[1:] + moments[:-1]) / 2
    return np.concatenate([[2 * moments[0] - middles[0]], middles, [2 * moments[-1] - middles[-1]]])
