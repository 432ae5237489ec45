"""From what was timed to a table: layers alone on a grid, brought to the time that they take in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lzero.latency.layer import Layer, Side
from lzero.latency.place import Spans
from lzero.latency.widths import never_falling

_DIGITS = 4  # of milliseconds that a table keeps
Floats = NDArray[np.float64]
_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True)
class Grid:
    """Seconds of a layer alone.

    Attributes:
        row_widths, column_widths: [m] and [n].
        seconds: [m, n].
    """

    row_widths: tuple[int, ...]
    column_widths: tuple[int, ...]
    seconds: Floats


@dataclass(frozen=True)
class Forward:
    """Whole forwards of the model in which every group keeps a share of its units.

    Attributes:
        share: that is kept.
        widths: path of a layer -> the widths of its rows and columns.
        spans: a forward with stations on its layers.
        seconds: of a forward without stations.
    """

    share: float
    widths: Mapping[str, tuple[int, int]]
    spans: Spans
    seconds: float


def assemble(
    sides: Mapping[str, tuple[Side, Side]], grids: Mapping[str, Grid], forwards: Sequence[Forward]
) -> tuple[float, tuple[Layer, ...], tuple[tuple[float, float, float], ...]]:
    """``before``, ``layers`` and ``checks`` of a table.

    A layer takes longer in place than alone, where its weights and inputs are in the cache and its memory is at hand;
    by how much depends on its size. So the seconds of its grid go through the curve that leads from what the grid says
    of the ``forwards`` to what these take in it. What follows the layer (norms, activations, attention) is added as a
    curve of its rows. Layers without a grid are a curve of their rows. At last all is multiplied so that a whole model
    takes what its forward without stations does.

    Args:
        sides: path of a layer -> dims of its rows and columns.
        grids: of the layers that were timed alone.
        forwards: the first one of the whole model.
    """
    spans = [_without_stations(forward) for forward in forwards]
    curves: dict[str, tuple[tuple[int, ...], tuple[int, ...], Floats]] = {}
    for path in sides:
        rows = [forward.widths[path][0] for forward in forwards]
        inside = [span.inside.get(path, 0.0) for span in spans]
        behind = [span.behind.get(path, 0.0) for span in spans]
        grid = grids.get(path)
        if grid is None:
            widths, seconds = _curve(rows, [a + b for a, b in zip(inside, behind, strict=True)])
            curves[path] = (widths, (sum(length for *_, length in sides[path][1]),), seconds[:, None])
            continue
        alone = never_falling(grid.seconds)
        seconds = _in_place(alone, [_at(grid, alone, forward.widths[path]) for forward in forwards], inside)
        after = np.interp(grid.row_widths, *_curve(rows, behind))
        curves[path] = (grid.row_widths, grid.column_widths, seconds + after[:, None])
    before = float(np.mean([span.before for span in spans]))
    whole = before + sum(float(seconds[-1, -1]) for *_, seconds in curves.values())
    scale = 1e3 * forwards[0].seconds / max(whole, 1e-12)
    layers = tuple(
        Layer(path, *sides[path], rows, columns, tuple(tuple(_kept(scale * value) for value in row) for row in seconds))
        for path, (rows, columns, seconds) in curves.items()
    )
    first = _kept(scale * before)
    checks = tuple(
        (
            forward.share,
            _kept(1e3 * forward.seconds),
            _kept(first + sum(layer.predict(*forward.widths[layer.path]) for layer in layers)),
        )
        for forward in forwards
    )
    return first, layers, checks


def _without_stations(forward: Forward) -> Spans:
    """The spans without what the stations take: as much for every call, half in the layer and half behind it."""
    spans = forward.spans
    each = max(spans.total - forward.seconds, 0.0) / max(sum(spans.calls.values()), 1) / 2

    def less(table: Mapping[str, float]) -> dict[str, float]:
        return {path: max(seconds - each * spans.calls.get(path, 0), 0.0) for path, seconds in table.items()}

    return Spans(spans.before, less(spans.inside), less(spans.behind), spans.calls)


def _curve(places: Sequence[_Number], seconds: Sequence[float]) -> tuple[tuple[_Number, ...], Floats]:
    """Rising places, each once, and the seconds at them, which never fall."""
    rising = tuple(sorted(set(places)))
    means = [[float(np.mean([s for p, s in zip(places, seconds, strict=True) if p == place])) for place in rising]]
    return rising, never_falling(means)[0]


def _in_place(alone: Floats, expected: Sequence[float], found: Sequence[float]) -> Floats:
    """``alone`` [m, n] through the curve from ``expected`` to ``found``; beyond its ends by their ratio."""
    places, seconds = _curve(expected, found)
    low, high = places[0], places[-1]
    curve = np.interp(alone, places, seconds)
    curve = np.where(alone < low, seconds[0] * alone / max(low, 1e-12), curve)
    made: Floats = np.where(alone > high, seconds[-1] * alone / max(high, 1e-12), curve)
    return made


def _at(grid: Grid, seconds: Floats, widths: tuple[int, int]) -> float:
    """The seconds that a grid has at these widths, bilinear."""
    by_column = [float(np.interp(widths[1], grid.column_widths, row)) for row in seconds]
    return float(np.interp(widths[0], grid.row_widths, by_column))


def _kept(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
