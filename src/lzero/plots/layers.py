"""The architecture that was learned, layer by layer."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lzero.errors import RecordError
from lzero.plots.style import GRID, canvas, colour, styled
from lzero.plots.table import Numbers, Rows, checked, numbers

_BAR_INCHES = 0.36
_DIGIT_SPACE = "\u2007"


@styled()
def architecture(rows: Rows, *, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """One bar a layer, in the order of the rows: the share of its units that was kept, with the counts beside it.

    Shares and not counts, so that a layer of 20 filters reads as well as one of 800 features.

    Args:
        rows: ``layer``, ``kept`` and ``total`` (units).
        ax: axes of the caller's.

    Raises:
        RecordError: no rows, a row that lacks one of the three columns, or one with kept > total.
    """
    table = checked(rows, "architecture", ("layer", "kept", "total"))
    kept, total = numbers(table, "kept"), numbers(table, "total")
    for row in table:
        if not 0 <= float(row["kept"]) <= float(row["total"]) or not float(row["total"]):
            raise RecordError(
                f"plots.architecture: layer {row['layer']} keeps {row['kept']} of {row['total']} units; "
                "expected 0 <= kept <= total and total >= 1"
            )
    figure, axes = canvas(ax, height=1.3 + _BAR_INCHES * len(table))
    share = 100 * kept / total
    places = range(len(table))
    axes.barh(places, np.full(len(table), 100.0), height=0.62, color=GRID, label="removed")
    axes.barh(places, share, height=0.62, color=colour(0), label="kept")
    for place, text in enumerate(_counts(kept, total)):
        # In the right margin: no text on a bar, whatever its length.
        axes.annotate(
            text,
            xy=(1, place),
            xycoords=("axes fraction", "data"),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            annotation_clip=False,
        )

    axes.set_yticks(places, [str(row["layer"]) for row in table])
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(0, 100), ylim=(len(table) - 0.4, -0.6), xlabel="units kept (%)")
    axes.spines["left"].set_visible(False)
    axes.grid(False)
    axes.set_title("Units kept, layer by layer")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2, ncols=2, reverse=True)
    return figure, axes


def _counts(kept: Numbers, total: Numbers) -> list[str]:
    """The text "214 / 300  71.3 %" for every layer, the columns aligned by spaces as wide as a digit."""
    width = max(len(f"{count:.0f}") for count in total)
    texts = []
    for left, count in zip(kept, total, strict=True):
        counts = f"{left:.0f}".rjust(width, _DIGIT_SPACE) + " / " + f"{count:.0f}".ljust(width, _DIGIT_SPACE)
        texts.append(counts + f"{100 * left / count:.1f}".rjust(8, _DIGIT_SPACE) + " %")
    return texts
