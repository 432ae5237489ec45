"""What was asked, what was shipped, and what it cost in test error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lzero.plots.style import CARD, INK, canvas, colour, legend_above, log_ticks, marker, styled
from lzero.plots.table import Numbers, Rows, checked, grouped, numbers
from lzero.recorder import Value

_FEASIBLE = "#e3efe6"


@styled()
def control(rows: Rows, *, log: bool = False, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Shipped density over asked density: on the line is exact, in the shaded half the budget holds.

    Args:
        rows: ``method``, ``asked`` and ``shipped`` (fractions of 1); a truthy ``published`` draws the point hollow.
        log: logarithmic axes, for targets that span decades.
        ax: axes of the caller's.

    Raises:
        RecordError: no rows, or a row that lacks one of the three columns.
    """
    table = checked(rows, "control", ("method", "asked", "shipped"))
    figure, axes = canvas(ax, height=6.2)
    both = np.concatenate([numbers(table, "asked"), numbers(table, "shipped")]) * 100
    low = 0.7 * float(both[both > 0].min(initial=100)) if log else 0.0
    high = (1.3 if log else 1.06) * float(both.max())

    axes.fill_between([low, high], [low, high], low, color=_FEASIBLE, linewidth=0, zorder=0)
    axes.plot([low, high], [low, high], color=INK, linewidth=1, zorder=1)
    handles: list[Line2D | Patch] = []
    for index, method, group, hollow in _series(table):
        asked, shipped = numbers(group, "asked") * 100, numbers(group, "shipped") * 100
        # Exact methods coincide on the line: later ones lie below and larger, so that each can be seen.
        handles += _points(axes, asked, shipped, hollow, index, method, markersize=7 + 2.5 * index)
    handles += [
        Line2D([], [], color=INK, linewidth=1, label="shipped = asked"),
        Patch(color=_FEASIBLE, label="budget met"),
    ]

    axes.set(xlabel="density asked for (%)", ylabel="density shipped (%)", xlim=(low, high), ylim=(low, high))
    if log:
        axes.set(xscale="log", yscale="log")
        log_ticks(axes.xaxis)
        log_ticks(axes.yaxis)
    if ax is None:
        figure.legend(handles=handles, loc="outside right center")
    else:
        legend_above(figure, axes, handles, own=False, columns=2)
    return figure, axes


@styled()
def trade_off(rows: Rows, *, log_x: bool = False, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Test error over shipped density, one line a method: the mean over seeds, with bars from least to greatest.

    Runs of one method that were asked for the same density are seeds of one point; where ``asked`` is missing, runs
    that shipped the same density are.

    Args:
        rows: ``method``, ``shipped`` and ``error`` (fractions of 1), optional ``asked``; a truthy ``published`` draws
            the point hollow.
        log_x: a logarithmic density axis.
        ax: axes of the caller's.

    Raises:
        RecordError: no rows, or a row that lacks one of the three columns.
    """
    table = checked(rows, "trade_off", ("method", "shipped", "error"))
    figure, axes = canvas(ax, height=5.0)
    handles: list[Line2D | Patch] = []
    for index, method, group, hollow in _series(table):
        points = [[100 * numbers(point, name) for name in ("shipped", "error")] for point in _seeds(group)]
        points.sort(key=lambda point: float(point[0].mean()))
        x, y = (np.array([point[side].mean() for point in points]) for side in (0, 1))
        for shipped, error in points:
            middle = shipped.mean(), error.mean()
            axes.plot([middle[0]] * 2, [error.min(), error.max()], color=colour(index), linewidth=1.2)
            axes.plot([shipped.min(), shipped.max()], [middle[1]] * 2, color=colour(index), linewidth=1.2)
        handles += _points(axes, x, y, hollow, index, method, joined=True)

    axes.set(xlabel="density shipped (%)", ylabel="test error (%)")
    if log_x:
        axes.set_xscale("log")
        log_ticks(axes.xaxis)
    else:
        axes.set_xlim(left=0)
    axes.set_ylim(bottom=max(0.0, axes.get_ylim()[0]))
    legend_above(figure, axes, handles, own=ax is None, columns=min(4, len(handles)))
    return figure, axes


def _seeds(rows: Sequence[Mapping[str, Value]]) -> list[list[Mapping[str, Value]]]:
    """The rows of one method, gathered into the points that they are repetitions of."""
    name = "asked" if all(row.get("asked") is not None for row in rows) else "shipped"
    return list(grouped(rows, name).values())


def _series(rows: Sequence[Mapping[str, Value]]) -> Iterator[tuple[int, str, list[Mapping[str, Value]], bool]]:
    """The place and name of every method with its own rows, then with those that others published, if any."""
    for index, (method, group) in enumerate(grouped(rows, "method").items()):
        for published in (False, True):
            chosen = [row for row in group if bool(row.get("published")) is published]
            if chosen:
                yield index, method, chosen, published


def _points(
    axes: Axes,
    x: Numbers,
    y: Numbers,
    hollow: bool,
    index: int,
    label: str,
    *,
    joined: bool = False,
    markersize: float = 8,
) -> list[Line2D]:
    """The handle of one method's points; numbers that others published are hollow and joined by dashes."""
    (line,) = axes.plot(
        x,
        y,
        linestyle=("--" if hollow else "-") if joined else "none",
        linewidth=1.4,
        color=colour(index),
        marker=marker(index),
        markersize=markersize,
        markerfacecolor=CARD if hollow else colour(index),
        markeredgecolor=colour(index) if hollow else CARD,
        markeredgewidth=1.6 if hollow else 0.8,
        label=f"{label} (published)" if hollow else label,
        zorder=3 - 0.01 * index,
    )
    handle = Line2D([], [])
    handle.update_from(line)
    handle.set(markersize=8, label=line.get_label())
    return [handle]
