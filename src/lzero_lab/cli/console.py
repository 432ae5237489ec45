"""What the command line shows: a progress bar while it works, a table at the end."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from lzero.recorder import Row, Value
from lzero_lab.runs.run import EpochCallback

_WIDE = 100  # characters, from where on columns get more room
_PLAIN_WIDTH = 160  # of a pipe or file, where nothing needs to fit a window

_TEXT = ("model", "method", "part", "measure")
# column of the rows -> (heading, how a cell is written)
_COLUMNS: Mapping[str, tuple[str, str]] = {
    "model": ("model", "{}"),
    "method": ("method", "{}"),
    "part": ("budget", "{}"),
    "measure": ("measure", "{}"),
    "seed": ("seed", "{}"),
    "coefficient": ("λ", "{:.3g}"),
    "trainings": ("trainings", "{}"),
    "seconds": ("seconds", "{:.1f}"),
    "asked": ("asked", "{:.2%}"),
    "before_settling": ("before settling", "{:.2%}"),
    "shipped": ("shipped", "{:.2%}"),
    "parameters": ("params", "{:,}"),
    "macs": ("MACs", "{:,}"),
    "validation_error": ("val. error", "{:.2%}"),
    "error": ("test error", "{:.2%}"),
}


class _Screen(Console):
    """A console that leaves it to the entry what happens where nobody reads."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def console() -> Console:
    """The console on standard output."""
    width = None if sys.stdout.isatty() else _PLAIN_WIDTH
    return _Screen(width=width, highlight=False, markup=False, soft_wrap=True)


def show_table(rows: Sequence[Mapping[str, Value]], title: str | None = None) -> None:
    """Print the known columns of ``rows`` as a table; a missing cell is a dash."""
    screen = console()
    wide = screen.width >= _WIDE
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1 if wide else 0),
    )
    columns = []
    for name, (heading, form) in _COLUMNS.items():
        if not any(name in row for row in rows):
            continue
        cells = [form.format(row[name]) if name in row else "–" for row in rows]
        narrowest = max(len(text) for text in [*heading.split(), *cells])
        table.add_column(heading, justify="left" if name in _TEXT else "right", width=None if wide else narrowest)
        columns.append(cells)
    for line in zip(*columns, strict=True):
        table.add_row(*line)
    screen.print(table, soft_wrap=False)


def show_files(figures: Sequence[Path], folder: Path) -> None:
    """Print where the run and its figures lie, the most important figure first."""
    for figure in figures:
        console().print(f"figure: {figure}")
    console().print(f"run:    {folder}")


@contextmanager
def progress(epochs: int, *, quiet: bool) -> Iterator[EpochCallback]:
    """A function that moves a bar on standard error by an epoch; silent if ``quiet`` or where that is no terminal."""
    screen = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} epochs"),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(),
        console=screen,
        disable=quiet or not screen.is_terminal,
        transient=True,
    )
    task = bar.add_task("", total=epochs, state="")
    current: list[str] = []

    def on_epoch(label: str, row: Row) -> None:
        if current != [label]:
            current[:] = [label]
            bar.reset(task, description=label)
        bar.update(task, completed=int(row["epoch"]), state=_state(row))

    with bar:
        yield on_epoch


def _state(row: Row) -> str:
    words = [f"error {float(row['error']):.1%}"]
    if "deployed" in row:
        words.append(f"density {float(row['deployed']):.1%}")
    return ", ".join(words)
