"""Numbers as a reader wants them."""

from __future__ import annotations

import math

_NARROW = "\u202f"  # a space that does not break, between a number and its unit
UNKNOWN = "–"


def percent(value: float | None) -> str:
    """Two digits after the point: densities and errors are told apart by them."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{100 * value:.2f}{_NARROW}%"


def count(value: float | None) -> str:
    """A whole number with thousands set apart."""
    return UNKNOWN if value is None or not math.isfinite(value) else f"{round(value):,}"


def amount(value: float) -> str:
    """Exact below ten millions, four digits above."""
    if value < 10**7:
        return count(value)
    return f"{value / 1e9:.4g}{_NARROW}G" if value >= 10**9 else f"{value / 1e6:.4g}{_NARROW}M"


def size(bytes_: int) -> str:
    """Bytes, by three digits."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if bytes_ >= factor:
            return f"{bytes_ / factor:.3g}{_NARROW}{unit}"
    return f"{bytes_} bytes"


def duration(milliseconds: float | None) -> str:
    """Milliseconds, by four digits."""
    return UNKNOWN if milliseconds is None else f"{milliseconds:.4g}{_NARROW}ms"


def plain(value: object) -> str:
    """A cell that no column is known for: numbers by four digits, text as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return count(value) if isinstance(value, int) else f"{value:.4g}"
