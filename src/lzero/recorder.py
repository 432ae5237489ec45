"""Rows of plain numbers, to and from CSV: what a run leaves behind for the figures."""

from __future__ import annotations

import csv
import errno
import numbers
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from lzero.checks import file_path, shown
from lzero.errors import RecordError
from lzero.files import replacing

Value: TypeAlias = float | int | str
Row: TypeAlias = dict[str, Value]


class Recorder:
    """A table that grows by one row a step or epoch; every cell is a float, an int or a short label.

    Columns are the union of the rows' names in first-seen order, and a row may leave any of them out. A CSV
    written by :meth:`to_csv` is read back by :meth:`from_csv` to the last bit, NaN and infinities included.
    A history of histograms is plain columns too: one count a bin, ``p_00`` to ``p_19``.

    Args:
        rows: to begin with, as :meth:`append` takes them.

    Raises:
        RecordError: as :meth:`append`.

    Example:
        >>> from lzero import Recorder
        >>> recorder = Recorder()
        >>> recorder.append(epoch=1, loss=0.71, method="constrained")
        >>> recorder.append(epoch=2, loss=0.42, error=0.08)
        >>> recorder.column("loss")
        [0.71, 0.42]
        >>> recorder.column("error")
        [None, 0.08]
    """

    def __init__(self, rows: Iterable[Mapping[str, object]] = ()) -> None:
        self._rows: list[Row] = []
        self._columns: dict[str, None] = {}  # a dict for its order
        for row in rows:
            self.append(**row)

    def append(self, /, **values: object) -> None:
        """Adds one row; numpy scalars and zero-dimensional tensors become floats, None is a missing cell.

        Raises:
            RecordError: a value that is no single number and no label, or a row without any value.
        """
        row = {_checked_name(name): _plain(name, value) for name, value in values.items() if value is not None}
        if not row:
            raise RecordError(
                "Recorder.append: a row without values; give at least one, e.g. append(epoch=1, loss=0.5)"
            )
        self._rows.append(row)
        self._columns.update(dict.fromkeys(row))

    @property
    def rows(self) -> list[Row]:
        """A copy of the rows, oldest first; a missing cell is a missing key."""
        return [dict(row) for row in self._rows]

    @property
    def columns(self) -> list[str]:
        """The column names, in the order in which they first appeared."""
        return list(self._columns)

    def column(self, name: str) -> list[Value | None]:
        """One value a row of the column ``name``, None where the row leaves it out.

        Raises:
            RecordError: no row has a column of that name.
        """
        if not isinstance(name, str) or name not in self._columns:
            raise RecordError(
                f"Recorder.column: no column {shown(name)}; there are: {', '.join(self._columns) or 'none yet'}"
            )
        return [row.get(name) for row in self._rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __repr__(self) -> str:
        return f"Recorder({len(self)} rows: {', '.join(self._columns)})"

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Writes the table at ``path``, whole or not at all: a reader never meets half a file.

        Raises:
            RecordError: ``path`` is no name of a file, or cannot be written.
        """
        target = file_path("Recorder.to_csv", path, error=RecordError)
        try:
            with (
                replacing(target, parents=True) as temporary,
                temporary.open("w", newline="", encoding="utf-8") as file,
            ):
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(self._columns)
                for row in self._rows:
                    writer.writerow([_cell(row[name]) if name in row else "" for name in self._columns])
        except (OSError, ValueError) as error:  # ValueError: no name at all, by its characters
            full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
            way_out = "make room and write it again" if full else "name a file in a folder of yours"
            raise RecordError(f"{target}: cannot be written ({error}); {way_out}") from error

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str]) -> Recorder:
        """The recorder that :meth:`to_csv` wrote at ``path``.

        Raises:
            RecordError: the file is missing, is not UTF-8, or has a row that does not fit its header.
        """
        path = file_path("Recorder.from_csv", path, error=RecordError)
        try:
            with open(path, newline="", encoding="utf-8") as file:
                lines = [(number, cells) for number, cells in enumerate(csv.reader(file, strict=True), 1) if cells]
        except (OSError, ValueError, csv.Error) as error:
            raise RecordError(
                f"{path}: not readable as a CSV of rows ({error}); name a file that Recorder.to_csv wrote"
            ) from error

        recorder = cls()
        header = lines[0][1] if lines else []
        if len(set(header)) < len(header):
            raise RecordError(f"{path}: a column name appears twice in the header: {', '.join(header)}; rename one")
        for number, cells in lines[1:]:
            if len(cells) != len(header):
                raise RecordError(
                    f"{path}, line {number}: expected {len(header)} cells as in the header, found {len(cells)}"
                )
            row = {name: _parsed(cell) for name, cell in zip(header, cells, strict=True) if cell}
            try:
                recorder.append(**row)
            except RecordError as error:
                raise RecordError(f"{path}, line {number}: {error}") from error
        return recorder


def _checked_name(name: str) -> str:
    if not name or not name.isprintable():
        raise RecordError(f"Recorder: a column is named {name!r}; use a word of printable characters")
    return name


def _plain(name: str, value: object) -> Value:
    """The value as a float, int or label that survives a CSV; exact for every Python and numpy number."""
    if isinstance(value, str):
        return _label(name, value)
    if isinstance(value, numbers.Integral):
        return int(value)
    shape = tuple(getattr(value, "shape", ()))
    if shape:
        raise RecordError(
            f"Recorder: {name} has shape {shape}, expected one number; reduce it first, e.g. {name}.mean()"
        )
    value = value.detach() if hasattr(value, "detach") else value  # a tensor in an autograd graph
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError) as error:
        raise RecordError(
            f"Recorder: {name} is a {type(value).__name__}, expected a number or a short label"
        ) from error


def _label(name: str, text: str) -> str:
    if not text or not text.isprintable():
        raise RecordError(
            f"Recorder: {name}={text!r}: a label is printable text on one line; give one, or leave it out if missing"
        )
    return text


def _cell(value: Value) -> str:
    """The text that :func:`_parsed` turns back into the very same value."""
    if not isinstance(value, str):
        return repr(value)  # the shortest text that keeps every bit of a float
    # As in a spreadsheet, an apostrophe says that a layer called "0" is text.
    return f"'{value}" if value.startswith("'") or not isinstance(_parsed(value), str) else value


def _parsed(cell: str) -> Value:
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell.removeprefix("'")
