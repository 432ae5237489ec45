"""A curve in a terminal, of characters: dots of Braille, or plain ones where the terminal has no others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

_BRAILLE = 0x2800
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of the dots of a character, by row and column
_ROWS, _COLUMNS = 4, 2  # of dots


@dataclass
class Chart:
    """A rectangle of characters with one curve, and a level beside it.

    Args:
        width, height: in characters.
        low, high: what the lowest and the highest dot stand for; ``low < high``.
        log: a logarithmic axis; what is not above 0 lies at the bottom.
    """

    width: int
    height: int
    low: float
    high: float
    log: bool = False
    _curve: set[tuple[int, int]] = field(default_factory=set)  # dots, (row from the top, column)
    _level: set[tuple[int, int]] = field(default_factory=set)

    def draw(self, points: Sequence[tuple[float, float]]) -> None:
        """A curve through ``points``, (x in [0, 1], y), from left to right; what is not finite leaves a gap."""
        last: tuple[int, int] | None = None
        for x, y in points:
            if not math.isfinite(y):
                last = None
                continue
            place = self._row(y), round(x * (self.width * _COLUMNS - 1))
            self._curve |= {place} if last is None else _between(last, place)
            last = place

    def mark(self, y: float) -> None:
        """A dotted level from side to side, where ``y`` is within the chart."""
        if math.isfinite(y) and self.low <= y <= self.high:
            self._level |= {(self._row(y), column) for column in range(0, self.width * _COLUMNS, _COLUMNS)}

    def lines(self, *, plain: bool = False) -> list[list[tuple[str, bool]]]:
        """By line, from the top, each character and whether the curve is in it; ``plain`` takes none but ASCII."""
        return [[self._character(row, column, plain) for column in range(self.width)] for row in range(self.height)]

    def _row(self, y: float) -> int:
        dots = self.height * _ROWS - 1
        share = self._share(y)
        return dots - round(min(max(share, 0.0), 1.0) * dots) if math.isfinite(share) else dots

    def _share(self, y: float) -> float:
        if not self.log:
            return (y - self.low) / (self.high - self.low)
        return math.log(y / self.low) / math.log(self.high / self.low) if y > 0 else 0.0

    def _character(self, row: int, column: int, plain: bool) -> tuple[str, bool]:
        curve, level = (self._bits(dots, row, column) for dots in (self._curve, self._level))
        if plain:
            return ("*" if curve else "-" if level else " "), bool(curve)
        return (chr(_BRAILLE + (curve | level)) if curve | level else " "), bool(curve)

    @staticmethod
    def _bits(dots: set[tuple[int, int]], row: int, column: int) -> int:
        return sum(
            _BITS[y][x]
            for y in range(_ROWS)
            for x in range(_COLUMNS)
            if (row * _ROWS + y, column * _COLUMNS + x) in dots
        )


def _between(start: tuple[int, int], end: tuple[int, int]) -> set[tuple[int, int]]:
    """The dots of a straight line."""
    count = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    return {
        (round(start[0] + (end[0] - start[0]) * n / count), round(start[1] + (end[1] - start[1]) * n / count))
        for n in range(count + 1)
    }
