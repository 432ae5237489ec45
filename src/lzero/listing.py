"""Numbers by module as text: columns that line up within a window, or the same as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lzero.fold import Place, fold

WIDTH = 100  # characters of a line
_LONGEST, _SHORTEST = 44, 12  # characters of the name of a module
_KEPT = "\0"  # in the place of a space at which no line may end
_SHORT_FROM, _RANGE_SHORT_FROM = 10**6, 10**4  # what is written with few digits where room is short
_UNITS = ((10**12, "T"), (10**9, "G"), (10**6, "M"))
_BYTES = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))

Cell = tuple[str, ...]


@dataclass(frozen=True)
class Column:
    """A column: its heading, and what stands before the second part of a cell, the third, ..."""

    heading: str
    between: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listing:
    """A line for each place, under a heading for each folder, and one for all of them.

    Attributes:
        columns: of numbers.
        places: what the lines are about.
        cells: of each line one a column, () where there is nothing to say.
        unlike: of each line whether its numbers are those of unlike modules, from the least to the most.
        sums: the cells of the last line.
    """

    columns: Sequence[Column]
    places: Sequence[Place]
    cells: Sequence[Sequence[Cell]]
    unlike: Sequence[bool]
    sums: Sequence[Cell]

    def lines(self, longest: int = _LONGEST) -> list[str]:
        """The listing as text, numbers on the right so that each part of a cell lines up; of ``longest`` names."""
        body = self._body(longest)
        rows = [line for line in body if not isinstance(line, str)]
        label = max(len(text) for text, _ in rows)
        sides = [_widths(column, [cells[n] for _, cells in rows]) for n, column in enumerate(self.columns)]
        heads = [
            column.heading.rjust(_taken(column, widths)) for column, widths in zip(self.columns, sides, strict=True)
        ]
        page = ["  ".join([" " * label, *heads]).rstrip()]
        for line in body:
            if isinstance(line, str):
                page.append(line)
                continue
            texts = [_side_by_side(*parts) for parts in zip(self.columns, line[1], sides, strict=True)]
            page.append("  ".join([line[0].ljust(label), *texts]).rstrip())
        return page

    def markdown(self) -> str:
        """The listing as a table in Markdown, whole paths in its first column."""
        rows: list[list[str]] = []
        for place, cells, unlike in zip(self.places, self.cells, self.unlike, strict=True):
            rows.append([place.path + _count(place.folders * place.leaves, unlike), *self._texts(cells)])
        rows.append(["all", *self._texts(self.sums)])
        lines = ["|".join(["", "---", *["---:"] * len(self.columns), ""]), *(f"| {' | '.join(row)} |" for row in rows)]
        head = f"| {' | '.join(['layer', *(column.heading for column in self.columns)])} |"
        return "\n".join([head, *lines]) + "\n"

    def _texts(self, cells: Sequence[Cell]) -> list[str]:
        pairs = zip(self.columns, cells, strict=True)
        texts = ["".join(b + text for b, text in zip(("", *c.between), cell, strict=False)) for c, cell in pairs]
        return [" ".join(text.split()) for text in texts]

    def _body(self, longest: int) -> list[str | tuple[str, Sequence[Cell]]]:
        lines: list[str | tuple[str, Sequence[Cell]]] = []
        folder = ""
        for number_, (place, cells) in enumerate(zip(self.places, self.cells, strict=True)):
            if place.folder not in ("", folder):
                unlike = any(u for p, u in zip(self.places, self.unlike, strict=True) if p.folder == place.folder)
                lines.append(_short(place.folder, WIDTH - 24) + _count(place.folders, unlike))
            folder = place.folder
            leaf = _short(place.leaf, longest) + _count(place.leaves, self.unlike[number_])
            lines.append((f"  {leaf}" if folder else leaf, cells))
        return [*lines, ("all", self.sums)]


def fitting(make: Callable[[bool], Listing]) -> list[str]:
    """The lines of the listing that ``make(short)`` gives: with short numbers, and names, where others do not fit."""
    lines = make(False).lines()
    if _widest(lines) <= WIDTH:
        return lines
    listing, longest = make(True), _LONGEST
    lines = listing.lines(longest)
    while _widest(lines) > WIDTH and longest > _SHORTEST:
        longest -= 1
        lines = listing.lines(longest)
    return lines


def _widest(lines: Sequence[str]) -> int:
    return max(map(len, lines))


def number(value: float, *, short: bool = False) -> str:
    """A count with thousands separators; four digits of a large one where it has to be ``short``."""
    if short and value >= _SHORT_FROM:
        size, unit = next(pair for pair in _UNITS if value >= pair[0])
        return f"{value / size:.4g} {unit}"
    return f"{round(value):,}"


def span(least: float, most: float, *, short: bool = False) -> str:
    """Counts from the ``least`` to the ``most``, with three digits of large ones where it has to be ``short``."""
    if least == most:
        return number(most, short=short)
    if not short or most < _RANGE_SHORT_FROM:
        return f"{number(least)}-{number(most)}"
    size, unit = next(pair for pair in (*_UNITS, (10**3, "k")) if most >= pair[0])
    return f"{least / size:.3g}-{most / size:.3g} {unit}"


def share(part: float, whole: float) -> str:
    """What ``part`` is of ``whole``, in per cent; a dash where there is nothing to be a part of."""
    if not whole:
        return "–"
    return "<0.1%" if 0 < part / whole < 5e-4 else f"{part / whole:.1%}"


def bytes_in_words(count: int) -> str:
    """Such as ``"1.2 MB"``."""
    for unit, size in _BYTES:
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"


def by_reason(said: Sequence[tuple[str, str, int]]) -> list[str]:
    """A paragraph for each reason that names the places that it holds for, alike ones together.

    Args:
        said: reason, place and how many units that has, of each.

    Example:
        >>> by_reason([("left whole, it is read", "net.0.fc", 8), ("left whole, it is read", "net.1.fc", 8)])
        ['left whole, it is read: net.0-1.fc (8 each)']
    """
    places: dict[str, list[tuple[str, int]]] = {}
    for reason, name, size in said:
        places.setdefault(reason, []).append((name, size))
    lines = []
    for reason, pairs in places.items():
        names, sizes = [name for name, _ in pairs], [size for _, size in pairs]
        told = [
            f"{place.path}{_KEPT}({sizes[place.members[0]]:,}{f'{_KEPT}each' if len(place.members) > 1 else ''})"
            for place in fold(names, sizes)
        ]
        lines += [line.replace(_KEPT, " ") for line in wrapped(f"{reason}: {', '.join(told)}")]
    return lines


def wrapped(text: str) -> list[str]:
    """``text`` as lines that fit a window, no path broken."""
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)


def _count(count: int, unlike: bool) -> str:
    return "" if count == 1 else f" ({count}, least to most)" if unlike else f" ({count} alike)"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"…{text[1 - most :]}"


def _widths(column: Column, cells: Sequence[Cell]) -> list[int]:
    """The characters of each part; the first takes what a long heading needs."""
    widths = [max((len(cell[n]) for cell in cells if len(cell) > n), default=0) for n in range(len(column.between) + 1)]
    widths[0] += max(0, len(column.heading) - _taken(column, widths))
    return widths


def _taken(column: Column, widths: Sequence[int]) -> int:
    return sum(widths) + sum(len(text) for text, width in zip(column.between, widths[1:], strict=True) if width)


def _side_by_side(column: Column, cell: Cell, widths: Sequence[int]) -> str:
    parts = [*cell, *[""] * (len(widths) - len(cell))]
    return "".join(
        (between if text else " " * len(between)) + text.rjust(width)
        for between, text, width in zip(("", *column.between), parts, widths, strict=True)
        if width
    )
