"""The look that all figures share: an opaque light card, readable at 900 pixels, safe for colour-blind eyes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from lzero.errors import RecordError

WIDTH = 9.0  # inches: 900 pixels in a README at the 100 dots per inch that font sizes are chosen for
CARD = "#fcfcfa"  # opaque, so that dark text stays readable on a dark page
INK = "#1f2328"
MUTED = "#5c636b"
GRID = "#dfe1e3"
FEASIBLE = "#e3efe6"  # where a budget is met

# Okabe and Ito's colours without the yellow, which vanishes on a light card.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#6a3d9a", "#4d4d4d")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

_LOG_SPAN = 20.0  # values that span more than this factor are drawn on a log axis

_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same glyphs everywhere
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # a run may be called "$x"
    "figure.facecolor": CARD,
    "axes.facecolor": CARD,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "legend.handlelength": 2.6,  # long enough to tell dashes from dots
}


@contextmanager
def styled() -> Iterator[None]:
    """The style inside the block or the decorated function, and the caller's own settings after it."""
    with matplotlib.rc_context(_RC):
        yield


def colour(index: int) -> str:
    """The colour of the series at `index`; it comes round after eight."""
    return COLOURS[index % len(COLOURS)]


def marker(index: int) -> str:
    """The marker of the series at `index`; it comes round after eight."""
    return MARKERS[index % len(MARKERS)]


def new_figure(height: float) -> Figure:
    """An empty figure of the common width on an opaque card, with room made for everything around its axes."""
    figure = Figure(figsize=(WIDTH, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.09, h_pad=0.09, wspace=0.03, hspace=0.03)  # type: ignore[union-attr,call-arg]
    return figure


def canvas(ax: Axes | None, height: float) -> tuple[Figure, Axes]:
    """The caller's axes and their figure, or those of a new figure."""
    if ax is None:
        figure = new_figure(height)
        return figure, figure.add_subplot()
    return cast(Figure, ax.get_figure(root=True)), ax


def canvases(
    axes: Sequence[Axes] | npt.NDArray[Any] | None, rows: int, columns: int, height: float
) -> tuple[Figure, npt.NDArray[Any]]:
    """The caller's `rows` x `columns` axes, in any nesting, or those of a new figure, which share one x.

    Raises:
        RecordError: another number of axes.
    """
    if axes is None:
        figure = new_figure(height)
        return figure, figure.subplots(rows, columns, sharex=True, squeeze=False)
    grid = np.asarray(axes, dtype=object)
    if grid.size != rows * columns:
        raise RecordError(
            f"plots: {grid.size} axes were given, expected {rows * columns}; leave axes out for a new figure"
        )
    grid = grid.reshape(rows, columns)
    return cast(Figure, grid[0, 0].get_figure(root=True)), grid


def legend_above(figure: Figure, axes: Axes, handles: Sequence[Any], *, own: bool, columns: int) -> None:
    """A legend that covers no data: above everything in a figure of ours, above `axes` in the caller's."""
    if own:
        figure.legend(handles=list(handles), loc="outside upper center", ncols=columns)
    else:
        axes.legend(
            handles=list(handles), loc="lower left", bbox_to_anchor=(0, 1.08), borderaxespad=0, ncols=min(2, columns)
        )


def log_ticks(axis: Axis) -> None:
    """Plain numbers at 1, 2, 5, 10, ... on a logarithmic axis, in place of powers of ten."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def log_if_wide(axes: Axes, values: npt.NDArray[np.float64]) -> bool:
    """Whether the y axis is logarithmic from now on: where a linear one would flatten most of the ``values``."""
    values = values[np.isfinite(values)]
    wide = len(values) > 0 and bool(0 < values.min() < values.max() / _LOG_SPAN)
    if wide:
        axes.set_yscale("log")
        log_ticks(axes.yaxis)
    return wide


def moment_ticks(axes: Axes, moments: npt.NDArray[np.float64], most: int) -> None:
    """Ticks of a time axis at whole numbers; of a single moment that one, and not parts of it to its sides."""
    if len(moments) and np.ptp(moments) == 0:
        axes.set_xlim(moments[0] - 0.5, moments[0] + 0.5)
        axes.xaxis.set_major_locator(FixedLocator([float(moments[0])]))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=most))


def say(axes: Axes, text: str) -> None:
    """A panel that has nothing to show says why, in its middle."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=MUTED)
    axes.set_yticks([])
    axes.grid(False)
