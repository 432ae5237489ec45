"""Training dynamics: density, multiplier, loss and error over time, several runs on one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lzero.errors import RecordError
from lzero.plots.style import INK, MUTED, canvases, colour, legend_above, log_if_wide, marker, moment_ticks, say, styled
from lzero.plots.table import Numbers, Rows, checked, numbers
from lzero.recorder import Value

_MULTIPLIER_LABELS = {
    "multiplier": "multiplier λ",
    "multiplier_loss_units": "λ·u (units of the loss)",
}
_EXPECTED: dict[str, Any] = {"linestyle": (0, (4, 2)), "linewidth": 1.3}
_ANNEALED: dict[str, Any] = {"linestyle": (0, (1, 1.5)), "linewidth": 1.0}


@styled()
def dynamics(
    runs: Mapping[str, Rows],
    target: float | None = None,
    *,
    multiplier: str = "multiplier",
    error_label: str = "error",
    axes: Sequence[Axes] | npt.NDArray[Any] | None = None,
) -> tuple[Figure, npt.NDArray[Any]]:
    """Four panels over one time axis: density against the target ε, multiplier, training loss and error.

    One colour and marker a run throughout; the deployed density is solid, the expected one dashed. Time is the
    column ``epoch``, else ``step``, else the row number. A panel whose column no run has says so.

    Args:
        runs: label -> rows with any of the columns ``deployed``, ``expected``, ``annealed_target`` and ``error``
            (fractions of 1), ``loss``, ``multiplier``, ``multiplier_loss_units``.
        target: the density ε that was asked for, a fraction; None draws no line.
        multiplier: the column of the second panel. A scaled multiplier λ and a penalty's coefficient are comparable
            only in the loss's units, ``"multiplier_loss_units"``.
        error_label: whose error the rows hold, such as ``"validation error"``.
        axes: four axes of the caller's, in reading order.

    Returns:
        The figure and its [2, 2] axes.

    Raises:
        RecordError: no run, or a run without rows.
    """
    if not runs:
        raise RecordError("plots.dynamics: no runs to draw; pass {label: rows}")
    tables = {label: checked(rows, f"dynamics ({label})") for label, rows in runs.items()}
    time = next((name for name in ("epoch", "step") if all(name in row for t in tables.values() for row in t)), "row")
    figure, grid = canvases(axes, 2, 2, height=6.4)
    density, pressure, loss, wrong = grid.flat

    density.set(title="Density", ylabel="density (%)")
    expected = _lines(density, tables, time, "expected", scale=100, markers=False, **_EXPECTED)
    deployed = _lines(density, tables, time, "deployed", scale=100)
    annealed = _annealed_target(density, tables, time)
    if not (expected or deployed):
        say(density, "no column deployed or expected\nin these rows")
    elif target is not None:
        _target_line(density, target)

    pressure.set(title="Multiplier", ylabel=_MULTIPLIER_LABELS.get(multiplier, multiplier))
    loss.set(title="Training loss", ylabel="loss")
    wrong.set(title=error_label[:1].upper() + error_label[1:], ylabel=f"{error_label} (%)")
    for panel, column, scale in ((pressure, multiplier, 1), (loss, "loss", 1), (wrong, "error", 100)):
        if not _lines(panel, tables, time, column, scale=scale):
            say(panel, f"no column {column}\nin these rows")
        elif panel is not pressure:
            drawn = [np.asarray(line.get_ydata(), dtype=np.float64) for line in panel.get_lines()]
            log_if_wide(panel, np.concatenate(drawn))  # a linear axis would flatten the end, which matters

    for panel in grid[1]:
        panel.set_xlabel(time)
        moment_ticks(panel, np.concatenate([_time(rows, time) for rows in tables.values()]), 7)
    handles = [
        Line2D([], [], color=colour(index), marker=marker(index), markersize=5, label=label)
        for index, label in enumerate(tables)
    ]
    keys: tuple[tuple[bool, str, dict[str, Any]], ...] = (
        (deployed, "deployed density", {}),
        (expected, "expected density", _EXPECTED),
        (annealed, "annealed target", _ANNEALED),
    )
    handles += [Line2D([], [], label=label, **{"color": MUTED} | look) for shown, label, look in keys if shown]
    legend_above(figure, density, handles, own=axes is None, columns=min(4, len(handles)))
    return figure, grid


def _time(rows: Sequence[Mapping[str, Value]], name: str) -> Numbers:
    return np.arange(1.0, len(rows) + 1) if name == "row" else numbers(rows, name)


def _lines(
    axes: Axes,
    tables: Mapping[str, Sequence[Mapping[str, Value]]],
    time: str,
    column: str,
    *,
    scale: float = 1,
    markers: bool = True,
    **style: Any,
) -> bool:
    """Whether any run has the column; one line for each that does."""
    drawn = False
    for index, (label, rows) in enumerate(tables.items()):
        values = numbers(rows, column) * scale
        if not np.isfinite(values).any():
            continue
        drawn = True
        every = max(1, len(rows) // 6)
        # Shifted from run to run, so that markers on coinciding lines stay apart.
        shown = (every * index // len(tables), every) if len(rows) > 1 else 1
        axes.plot(
            _time(rows, time),
            values,
            color=colour(index),
            label=label,
            marker=marker(index) if markers else "_" if len(rows) == 1 else None,
            markersize=4.5,
            markevery=shown,
            zorder=3 - 0.01 * index,
            **style,
        )
    return drawn


def _annealed_target(axes: Axes, tables: Mapping[str, Sequence[Mapping[str, Value]]], time: str) -> bool:
    """Whether a run records its annealed target; the first that does is drawn, thin."""
    for rows in tables.values():
        values = numbers(rows, "annealed_target") * 100
        if np.isfinite(values).any():
            axes.plot(_time(rows, time), values, color=MUTED, marker="_" if len(rows) == 1 else None, **_ANNEALED)
            return True
    return False


def _target_line(axes: Axes, target: float) -> None:
    """The line at ε, named in the right margin, where no curve can run into the text."""
    axes.axhline(100 * target, color=INK, linewidth=1, zorder=2)
    axes.annotate(
        f"ε = {100 * target:.3g} %",
        xy=(1, 100 * target),
        xycoords=("axes fraction", "data"),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=9,
        annotation_clip=False,
    )
    low, high = axes.get_ylim()
    axes.set_ylim(min(0.0, low), max(high, 110 * target))
