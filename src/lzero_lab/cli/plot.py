"""``lzero plot``: the figures of a run folder or of a CSV, drawn again."""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from lzero_lab.cli import texts
from lzero_lab.cli.console import console
from lzero_lab.lock import alone_in
from lzero_lab.runs.figures import KINDS, default_kind, draw, draw_all
from lzero_lab.runs.folder import RunFolder


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "plot",
        help="draw figures from a run folder or a CSV",
        description="Draw figures from the CSV files of a run; no model is built and nothing is trained.",
    )
    parser.add_argument("source", type=texts.path, help="run folder of train, compare or sweep; or a CSV")
    parser.add_argument("--kind", choices=KINDS, help="default: all that belong to the folder; dynamics for a CSV")
    parser.add_argument("--target", type=texts.density, help="density of the line in the dynamics (default: the run's)")
    parser.add_argument("--out", type=texts.path, metavar="FILE", help="PNG, SVG or PDF (default: beside the rows)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Draw and show where."""
    source: Path = options.source
    if source.is_dir() and not (options.kind or options.out or options.target):
        with _alone_in_a_run(source):
            figures = draw_all(source)
    else:
        kind = options.kind or default_kind(source)
        beside = source / f"{kind}.png" if source.is_dir() else source.with_suffix(f".{kind}.png")
        output = options.out or beside
        with _alone_in_a_run(output.parent):
            figures = [draw(source, output, kind, options.target)]
    for figure in figures:
        console().print(f"figure: {figure}")


def _alone_in_a_run(folder: Path) -> AbstractContextManager[object]:
    """What is written into a run folder is written by one process at a time; other folders are the user's own."""
    return alone_in(folder) if RunFolder(folder).config.is_file() else nullcontext()
