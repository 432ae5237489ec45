"""What was asked, what was shipped, and what it cost in test error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lzero.plots.style import (
    CARD,
    FEASIBLE,
    INK,
    MUTED,
    canvas,
    colour,
    legend_above,
    log_if_wide,
    log_ticks,
    marker,
    styled,
)
from lzero.plots.table import Numbers, Rows, checked, grouped, numbers
from lzero.recorder import Value

_SMALL = 6.5  # points, of a marker among many
_APART, _APART_LOG = 0.8, 1.03  # per cent, or factor, between trainings that were asked for the same
_TICKS = 10  # targets that have a tick each


@styled()
def control(rows: Rows, *, log: bool = False, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Shipped density over asked density: on the line is exact, in the shaded half the budget holds.

    Trainings that were asked for the same, such as seeds, stand side by side around what they were asked for: they are
    moved along the line, so that the distance of each from it stays what it is; the axis says so.

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

    axes.fill_between([low, high], [low, high], low, color=FEASIBLE, linewidth=0, zorder=0)
    axes.plot([low, high], [low, high], color=INK, linewidth=1, zorder=1)
    handles: list[Line2D | Patch] = []
    moved = _side_by_side(table, log)
    for index, method, group, hollow in _series(table):
        x, y = (moved(numbers(group, side) * 100, group) for side in ("asked", "shipped"))
        handles += _points(axes, x, y, hollow, index, method, markersize=_SMALL)
    handles += [
        Line2D([], [], color=INK, linewidth=1, label="shipped = asked"),
        Patch(color=FEASIBLE, label="budget met"),
    ]

    axes.set(xlabel="density asked for (%)", ylabel="density shipped (%)", xlim=(low, high), ylim=(low, high))
    axes.set_title("Shipped against asked density")
    own = grouped([row for row in table if not row.get("published")], "asked")
    if any(len(group) > 1 for group in own.values()):
        axes.set_xlabel("density asked for (%)\ntrainings of one target stand side by side along the line")
        if not log and len(own) <= _TICKS:  # each at the middle of its trainings
            ticks = [0.0, *sorted(100 * float(text) for text in own)]
            axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
            axes.set_yticks(ticks, [f"{tick:.3g}" for tick in ticks])
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
    """Test error over shipped density: the mean over seeds, with bars from least to greatest.

    Runs of one method that were asked for the same density are seeds of one point, and its budgets are joined; where
    ``asked`` is missing, runs that shipped the same density are, and nothing is joined: what lies between two
    coefficients of a penalty nobody has asked for, or measured. What was asked is a line from top to bottom.

    Args:
        rows: ``method``, ``shipped`` and ``error`` (fractions of 1), optional ``asked``, and ``coefficient``, which
            is written beside a point that was not asked for; a truthy ``published`` draws the point hollow.
        log_x: a logarithmic density axis.
        ax: axes of the caller's.

    Raises:
        RecordError: no rows, or a row that lacks one of the three columns.
    """
    table = checked(rows, "trade_off", ("method", "shipped", "error"))
    figure, axes = canvas(ax, height=5.0)
    handles: list[Line2D | Patch] = []
    targets = sorted({100 * float(row["asked"]) for row in table if row.get("asked") is not None})
    level: dict[str, Any] = {"color": INK if len(targets) == 1 else MUTED, "linewidth": 1}
    level |= {} if len(targets) == 1 else {"linestyle": (0, (1, 1.5))}
    for target in targets:
        axes.axvline(target, zorder=1, **level)
    for index, method, group, hollow in _series(table):
        asked = all(row.get("asked") is not None for row in group)
        points = [[100 * numbers(point, name) for name in ("shipped", "error")] for point in _seeds(group)]
        points.sort(key=lambda point: float(point[0].mean()))
        x, y = (np.array([point[side].mean() for point in points]) for side in (0, 1))
        for shipped, error in points:
            middle = shipped.mean(), error.mean()
            axes.plot([middle[0]] * 2, [error.min(), error.max()], color=colour(index), linewidth=1.2)
            axes.plot([shipped.min(), shipped.max()], [middle[1]] * 2, color=colour(index), linewidth=1.2)
        handles += _points(axes, x, y, hollow, index, method, joined=asked and len(points) > 1)
        if not asked:
            _coefficients(axes, group, index)
    if targets:
        words = f"asked: {targets[0]:.3g} %" if len(targets) == 1 else "asked"
        handles.append(Line2D([], [], label=words, **level))

    axes.set(xlabel="density shipped (%)", ylabel="test error (%)", title="Test error against shipped density")
    if log_x:
        axes.set_xscale("log")
        log_ticks(axes.xaxis)
    else:
        axes.set_xlim(left=0)
    log = log_if_wide(axes, 100 * numbers(table, "error"))
    low, high = axes.get_ylim()
    if axes.texts:  # room for the coefficients above the highest point
        high *= 1.6 if log else 1.12
    axes.set_ylim(low if log else max(0.0, low), high)
    legend_above(figure, axes, handles, own=ax is None, columns=min(4, len(handles)))
    return figure, axes


def _coefficients(axes: Axes, rows: Sequence[Mapping[str, Value]], index: int) -> None:
    """The penalties that led to the points, higher and lower by turns: those of neighbours would meet."""
    penalized = [row for row in rows if isinstance(row.get("coefficient"), int | float)]
    for place, row in enumerate(sorted(penalized, key=lambda row: float(row["shipped"]))):
        axes.annotate(
            f"λ = {row['coefficient']:.3g}",
            (100 * float(row["shipped"]), 100 * float(row["error"])),
            xytext=(3, 20 if place % 2 else 8),
            textcoords="offset points",
            fontsize=8.5,
            color=colour(index),
        )


def _side_by_side(
    rows: Sequence[Mapping[str, Value]], log: bool
) -> Callable[[Numbers, Sequence[Mapping[str, Value]]], Numbers]:
    """A function that moves per cents of some of the ``rows``, so that those that were asked for the same stand apart.

    By the same for both axes: along the line, on which they are equal; by a factor on logarithmic ones.
    """
    steps: dict[int, float] = {}
    for group in grouped([row for row in rows if not row.get("published")], "asked").values():
        steps |= {id(row): place - (len(group) - 1) / 2 for place, row in enumerate(group)}

    def moved(values: Numbers, some: Sequence[Mapping[str, Value]]) -> Numbers:
        by = np.array([steps.get(id(row), 0.0) for row in some])
        return values * _APART_LOG**by if log else values + _APART * by

    return moved


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
        clip_on=False,  # what ships next to nothing stands on the axis
        zorder=(4 if hollow else 3) - 0.01 * index,
    )
    handle = Line2D([], [])
    handle.update_from(line)
    handle.set(markersize=8, label=line.get_label())
    return [handle]
