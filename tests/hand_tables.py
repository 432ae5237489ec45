"""Tables of latencies made by hand, for the plans of the tests: no clock is read."""

from __future__ import annotations

import math

from lzero.latency import Layer, Table


def stairs(rows, columns):
    """Milliseconds that rise by steps: three rows at once, and two columns."""
    return 0.05 + 0.2 * math.ceil(rows / 3) * (1 + 0.5 * math.ceil(columns / 2)) + 0.001 * rows


def plain(rows, columns):
    """Milliseconds without steps."""
    return 0.01 + 0.003 * rows * columns + 0.02 * rows


def layer_of(plan, name, ms=stairs, path=None):
    """The layer of one weight, timed at every width."""
    rows, columns = plan.shapes[name][:2]
    down, across = tuple(range(1, rows + 1)), tuple(range(1, columns + 1))
    values = tuple(tuple(ms(r, c) for c in across) for r in down)
    where = name.rpartition(".")[0] if path is None else path
    return Layer(where, ((name, 0, rows),), ((name, 1, columns),), down, across, values)


def table_of(plan, ms=stairs, before=0.1):
    """A layer for each weight that ``plan`` counts."""
    return Table(tuple(layer_of(plan, name, ms) for name in plan.positions), before, "by hand", shapes=((3, 5),))
