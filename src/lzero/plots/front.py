"""What is left of a network against what it is worth: a panel for parameters, MACs and milliseconds each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lzero.plots.style import CARD, MUTED, canvases, colour, legend_above, log_ticks, marker, new_figure, styled
from lzero.plots.table import Rows, checked, grouped, numbers
from lzero.recorder import Value

_PANELS = {
    "params": (100, "parameters left (%)"),
    "macs": (100, "MACs left (%)"),
    "milliseconds": (1, "milliseconds a forward"),
}
_HEIGHT = 4.6  # inches
_NOTE = "cut: one training, purged at other budgets by its ranked gates. It is not equal to training at each."


@styled()
def front(
    rows: Rows, *, scale: float = 1.0, label: str = "evaluation", log_x: bool = False, log_y: bool = False,
    axes: Sequence[Axes] | None = None,
) -> tuple[Figure, list[Axes]]:  # fmt: skip
    """Evaluation against density, a panel for each of params, MACs and milliseconds that the rows have.

    Lines of the same label and asked density are repetitions: the mean, with bars from least to greatest. Where a line
    is a training that was cut at other budgets, dashes and a note say so.

    Args:
        rows: of a :class:`lzero.Front`, or of several: ``evaluation``, one of ``params``, ``macs`` (fractions of
            1) and ``milliseconds`` at least; optional ``label``, ``asked`` and a truthy ``cut``.
        scale: factor on the evaluation, such as 100 for per cent.
        label: what the evaluation is, for its axis.
        log_x: logarithmic densities and durations.
        log_y: a logarithmic evaluation.
        axes: those of the caller's, one a panel.

    Raises:
        RecordError: no rows, or rows without an evaluation, without any of the three, or another number of axes.
    """
    table = checked(rows, "front", ("evaluation",))
    panels = [name for name in _PANELS if any(row.get(name) is not None for row in table)]
    if not panels:
        checked(table, "front", ("params",))
    figure, grid = _canvases(axes, len(panels))
    handles = []
    for index, (name, group) in enumerate(grouped([{"label": "evaluation", **row} for row in table], "label").items()):
        cut = any(bool(row.get("cut")) for row in group)
        for axis, panel in zip(grid.flat, panels, strict=True):
            _points(axis, group, panel, scale, index, cut)
        handles.append(_line([], [], index, cut))
        handles[-1].set_label(name)
    for axis, panel in zip(grid.flat, panels, strict=True):
        axis.set_xlabel(_PANELS[panel][1])
        if log_x:
            axis.set_xscale("log")
            log_ticks(axis.xaxis)
        if log_y:
            axis.set_yscale("log")
            log_ticks(axis.yaxis)
    grid.flat[0].set_ylabel(label)
    if any(bool(row.get("cut")) for row in table) and axes is None:
        figure.supxlabel(_NOTE, fontsize=9, color=MUTED, x=0.01, ha="left")
    legend_above(figure, grid.flat[0], handles, own=axes is None, columns=min(2, len(handles)))
    return figure, list(grid.flat)


def _canvases(axes: Sequence[Axes] | None, panels: int) -> tuple[Figure, npt.NDArray[Any]]:
    """The caller's axes, or new ones side by side, each with an x of its own."""
    if axes is not None:
        return canvases(axes, 1, panels, height=_HEIGHT)
    figure = new_figure(_HEIGHT)
    return figure, figure.subplots(1, panels, sharey=True, squeeze=False)


def _points(axes: Axes, rows: Sequence[Mapping[str, Value]], panel: str, scale: float, index: int, cut: bool) -> None:
    """One label's points in one panel, from the smallest to the largest."""
    rows = [row for row in rows if row.get(panel) is not None]
    if not rows:
        return
    name = "asked" if all(row.get("asked") is not None for row in rows) else panel
    points = []
    for group in grouped(rows, name).values():
        values = scale * numbers(group, "evaluation")
        points.append((_PANELS[panel][0] * float(numbers(group, panel).mean()), values))
    points.sort(key=lambda point: point[0])
    for place, values in points:
        axes.plot([place] * 2, [values.min(), values.max()], color=colour(index), linewidth=1.2)
    axes.add_line(_line([x for x, _ in points], [float(values.mean()) for _, values in points], index, cut))
    axes.autoscale_view()


def _line(x: Sequence[float], y: Sequence[float], index: int, cut: bool) -> Line2D:
    return Line2D(
        x,
        y,
        linestyle="--" if cut else "-",
        linewidth=1.4,
        color=colour(index),
        marker=marker(index),
        markersize=7,
        markerfacecolor=CARD if cut else colour(index),
        markeredgecolor=colour(index) if cut else CARD,
        markeredgewidth=1.4 if cut else 0.8,
        zorder=3 - 0.01 * index,
    )
