"""The table, the paths and the progress bar."""

import io
import sys
from pathlib import Path

from rich.console import Console

from lzero_lab.cli import console
from lzero_lab.cli.console import progress, show_files, show_table

ROWS = [
    {"method": "constrained", "asked": 0.1, "shipped": 0.09999, "parameters": 5061, "folder": "a"},
    {"method": "penalized", "coefficient": 0.01, "shipped": 0.5, "parameters": 25_305, "unknown": 3},
]


def test_known_columns_are_shown_in_their_order_and_a_missing_cell_is_a_dash(capsys):
    show_table(ROWS, "two ways")
    title, head, _, *lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert title == ["two", "ways"]
    assert head == ["method", "λ", "asked", "shipped", "params"]
    assert lines == [
        ["constrained", "–", "10.00%", "10.00%", "5,061"],
        ["penalized", "0.01", "–", "50.00%", "25,305"],
    ]


def test_in_a_narrow_window_cells_stay_whole(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(console, "console", lambda: Console(file=written, width=48, highlight=False))
    show_table(ROWS)
    assert all(word in written.getvalue() for word in ("constrained", "25,305", "10.00%"))
    assert max(map(len, written.getvalue().splitlines())) <= 48


def test_markup_in_a_path_is_no_markup(capsys):
    show_files([Path("runs/[bold]x/dynamics.png")], Path("runs/[bold]x"))
    assert capsys.readouterr().out == "figure: runs/[bold]x/dynamics.png\nrun:    runs/[bold]x\n"


def test_long_lines_are_not_broken_in_a_file(capsys):
    console.console().print("word " * 100)
    assert capsys.readouterr().out.count("\n") == 1


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, quiet, file):
    monkeypatch.setattr(sys, "stderr", file)
    monkeypatch.setenv("TERM", "xterm")
    with progress(3, quiet=quiet) as on_epoch:
        on_epoch("constrained", {"epoch": 1, "error": 0.25})
        on_epoch("bisection", {"epoch": 2, "error": 0.125, "deployed": 0.5})
    return file.getvalue()


def test_the_bar_has_the_training_its_epochs_and_its_state(monkeypatch):
    text = shown(monkeypatch, False, Terminal())
    assert "bisection" in text and "2/3 epochs" in text and "error 12.5%, density 50.0%" in text


def test_there_is_no_bar_where_it_is_not_wanted_or_no_terminal(monkeypatch):
    assert shown(monkeypatch, True, Terminal()) == "" == shown(monkeypatch, False, io.StringIO()).strip()
