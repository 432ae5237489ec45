"""Methods side by side: the error of every training, a panel a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lzero.plots.style import CARD, INK, MUTED, colour, legend_above, new_figure, styled
from lzero.plots.table import Rows, checked, grouped, numbers
from lzero.recorder import Value

_ROW = 0.27  # inches a method
_FAR = 3.0  # times the median of a panel: an error beyond it is told in words, and the others stay apart


@styled()
def methods(rows: Rows) -> tuple[Figure, list[Axes]]:
    """Test error of every training, a panel a budget and a line a method, the least mean error on top.

    Small dots are trainings, the large one is their mean; numbers that others published are hollow. A mean beyond three
    times the median of its panel (a training that failed) is written at the edge.

    Args:
        rows: ``label``, ``budget`` and ``error`` (a fraction of 1) of every training; a truthy ``published`` marks the
            numbers of others.

    Raises:
        RecordError: no rows, or a row that lacks one of the columns.
    """
    table = checked(rows, "methods", ("label", "budget", "error"))
    budgets = grouped(table, "budget")
    sizes = [len(grouped(group, "label")) for group in budgets.values()]
    figure = new_figure(0.9 + sum(_ROW * size + 0.75 for size in sizes))
    grid = figure.subplots(len(budgets), 1, squeeze=False, height_ratios=[size + 1.5 for size in sizes])[:, 0]
    for axes, (budget, group) in zip(grid, budgets.items(), strict=True):
        _panel(axes, budget, group)
    grid[-1].set_xlabel("test error (%)")
    handles = [
        Line2D([], [], linestyle="none", marker="o", markersize=9, color=colour(0), label="mean over seeds"),
        Line2D([], [], linestyle="none", marker="o", markersize=4, color=colour(0), alpha=0.6, label="one training"),
    ]
    if any(row.get("published") for row in table):
        handles.append(
            Line2D([], [], linestyle="none", marker="D", markersize=7, mfc=CARD, color=MUTED, label="published")
        )
    legend_above(figure, grid[0], handles, own=True, columns=len(handles))
    return figure, list(grid)


def _panel(axes: Axes, budget: str, rows: Sequence[Mapping[str, Value]]) -> None:
    groups = sorted(grouped(rows, "label").items(), key=lambda item: -float(numbers(item[1], "error").mean()))
    far = _FAR * median(100 * float(numbers(group, "error").mean()) for _, group in groups)
    for place, (_, group) in enumerate(groups):
        errors = 100 * numbers(group, "error")
        if errors.mean() > far:
            at = axes.get_yaxis_transform()
            axes.text(0.99, place, f"{errors.mean():.1f} →", ha="right", va="center", color=MUTED, transform=at)
            continue
        if any(row.get("published") for row in group):
            axes.plot(errors, [place] * len(errors), "D", markersize=7, mfc=CARD, mec=MUTED, zorder=3)
            continue
        axes.plot(errors, [place] * len(errors), "o", markersize=4, color=colour(0), alpha=0.6, zorder=2)
        axes.plot(errors.mean(), place, "o", markersize=9, color=colour(0), mec=CARD, zorder=3)
    axes.set_yticks(range(len(groups)), [label for label, _ in groups], color=INK)
    axes.set_ylim(-0.7, len(groups) - 0.3)
    axes.grid(axis="y", visible=False)
    axes.set_title(budget)
