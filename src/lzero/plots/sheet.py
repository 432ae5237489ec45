"""The figures of a page, small enough for a phone: one axes a figure, and no title, since the page has headings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lzero.plots import densities, panels
from lzero.plots.front import front as draw_front
from lzero.plots.probabilities import gate_histogram
from lzero.plots.style import CARD, COLOURS, INK, MUTED, colour, legend_above, new_figure, styled
from lzero.plots.table import Rows, checked, numbers
from lzero.recorder import Value

_WIDTH, _HEIGHT = 4.6, 3.1  # inches
_TICKS = 6
_LABEL = 24  # characters: two stand side by side above a panel
_PANELS = ("density", "multiplier", "loss", "error")
_MEASURES = ("params", "macs", "milliseconds")
# From nothing to one colour, so that the page shows through: it may be light or dark.
_FADING = LinearSegmentedColormap.from_list(
    "fading", [(*to_rgb(COLOURS[4]), 0.0), (*to_rgb(COLOURS[4]), 0.55), (*to_rgb(COLOURS[0]), 1.0)]
)


@styled()
def dynamics(
    runs: Mapping[str, Rows], targets: Sequence[float] = (), *, error_label: str = "error"
) -> dict[str, Figure]:
    """``"density"``, ``"multiplier"``, ``"loss"`` and ``"error"`` over time, those of which a run has a column.

    Args:
        runs: label -> rows, as for :func:`lzero.plots.dynamics`.
        targets: one for all, or one a run, in its colour.
        error_label: as there.

    Raises:
        RecordError: no run, or a run without rows.
    """
    runs = _labelled(runs)
    axes = [_small() for _ in _PANELS]
    units = any("multiplier_loss_units" in row for rows in runs.values() for row in rows)
    column = "multiplier_loss_units" if units else "multiplier"
    target = targets[0] if len(targets) == 1 else None
    panels.dynamics(runs, target, multiplier=column, error_label=error_label, axes=axes)
    drawn = {name: panel for name, panel in zip(_PANELS, axes, strict=True) if panel.lines}
    for name, panel in drawn.items():
        panel.set_title("")
        panel.set_ylabel(panel.get_ylabel().removeprefix("multiplier "))  # the heading says so
        panel.set_xlabel(axes[-1].get_xlabel())
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=_TICKS))
        if len(runs) > 1 and name != "density":
            named = [line for line in panel.lines if not str(line.get_label()).startswith("_")]
            legend_above(_figure(panel), panel, named, own=False, columns=2)
    if len(targets) > 1 and "density" in drawn:
        for number, target in enumerate(targets):
            drawn["density"].axhline(100 * target, color=colour(number), linewidth=1, linestyle=(0, (1, 2)))
    return {name: _figure(panel) for name, panel in drawn.items()}


@styled()
def histogram(rows: Rows) -> Figure:
    """Where the probabilities of the gates lie over time, as :func:`lzero.plots.gate_histogram`, without a background.

    Raises:
        RecordError: rows that it cannot be drawn from.
    """
    axes = _small()
    gate_histogram(rows, ax=axes)
    mesh = axes.collections[0]
    mesh.set_cmap(_FADING)
    if mesh.colorbar is not None:
        mesh.colorbar.solids.set_rasterized(True)  # type: ignore[union-attr]  # 256 paths otherwise
        mesh.colorbar.set_label("share of gates (%)")
    axes.set(title="", ylabel="P(z ≠ 0)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=_TICKS))
    return _figure(axes)


@styled()
def course(rows: Rows, targets: Sequence[float] = ()) -> Figure:
    """Error over deployed density, one point a row, joined in the order of time from a hollow point to a full one.

    Args:
        rows: ``deployed`` and ``error``, fractions of 1; rows that lack one are passed over.
        targets: densities that were asked for, one line each.

    Raises:
        RecordError: no row with both.
    """
    both = [row for row in rows if row.get("deployed") is not None and row.get("error") is not None]
    table = checked(both, "course", ("deployed", "error"))
    x, y = 100 * numbers(table, "deployed"), 100 * numbers(table, "error")
    axes = _small()
    axes.plot(x, y, color=colour(0), linewidth=1, marker=".", markersize=4)
    axes.plot(x[:1], y[:1], "o", markersize=8, color=colour(0), markerfacecolor=CARD, label="first")
    axes.plot(x[-1:], y[-1:], "o", markersize=8, color=colour(0), markeredgecolor=CARD, label="last")
    for target in targets:
        axes.axvline(100 * target, color=INK, linewidth=1, zorder=1)
    axes.set(xlabel="density deployed (%)", ylabel="error (%)")
    axes.set_xlim(left=0)
    legend_above(_figure(axes), axes, axes.get_legend_handles_labels()[0], own=False, columns=2)
    return _figure(axes)


@styled()
def trade_off(rows: Rows) -> Figure:
    """Test error over shipped density, as :func:`lzero.plots.trade_off`.

    Raises:
        RecordError: rows that it cannot be drawn from.
    """
    return _untitled(densities.trade_off, rows)


@styled()
def control(rows: Rows) -> Figure:
    """Shipped density over asked density, as :func:`lzero.plots.control`.

    Raises:
        RecordError: rows that it cannot be drawn from.
    """
    return _untitled(densities.control, rows)


@styled()
def front(rows: Rows, label: str = "evaluation", scale: float = 1.0) -> dict[str, Figure]:
    """``"params"``, ``"macs"``, ``"milliseconds"``: the panels of :func:`lzero.plots.front` that the rows have.

    Raises:
        RecordError: rows that it cannot be drawn from.
    """
    listed: list[dict[str, Value]] = checked(rows, "front", ("evaluation",))
    names = [name for name in _MEASURES if any(row.get(name) is not None for row in listed)]
    axes = [_small() for _ in names]
    draw_front(_named(listed, "label"), scale=scale, label=label, axes=axes or None)
    legend = axes[0].get_legend() if axes else None
    several = len({row.get("label") for row in listed}) > 1
    if legend is not None and not several:
        legend.remove()
    for panel in axes[1:]:
        panel.set_ylabel(label)
        if legend is not None and several:
            legend_above(_figure(panel), panel, legend.legend_handles, own=False, columns=2)
    return {name: _figure(panel) for name, panel in zip(names, axes, strict=True)}


def _labelled(runs: Mapping[str, Rows]) -> dict[str, Rows]:
    """The runs by names that fit a legend; where two became one, by their numbers too."""
    found: dict[str, Rows] = {}
    for number, (label, rows) in enumerate(runs.items(), 1):
        short = _short(label)
        found[f"{short[: _LABEL - 5]} ({number})" if short in found else short] = rows
    return found


def _untitled(draw: Callable[..., object], rows: Rows) -> Figure:
    """What ``draw`` makes of rows with methods, small."""
    axes = _small()
    draw(_named(rows, "method"), ax=axes)
    axes.set_title("")
    return _figure(axes)


def _named(rows: Rows, column: str) -> list[dict[str, Value]]:
    """The rows with the text of one column as short as a legend needs it."""
    return [{**row, column: _short(str(row[column]))} if column in row else dict(row) for row in rows]


def _short(text: str) -> str:
    return text if len(text) <= _LABEL else f"{text[: _LABEL - 1]}…"


def _small() -> Axes:
    figure = new_figure(_HEIGHT)
    figure.set_size_inches(_WIDTH, _HEIGHT)
    axes = figure.add_subplot()
    axes.tick_params(color=MUTED)
    return axes


def _figure(axes: Axes) -> Figure:
    return cast(Figure, axes.get_figure(root=True))
