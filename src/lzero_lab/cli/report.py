"""``lzero report``: all that a run folder holds, as one page of HTML."""

from __future__ import annotations

import argparse
from pathlib import Path

from lzero.report import Content, write
from lzero_lab import datasets
from lzero_lab.cli import options as opt
from lzero_lab.cli import texts
from lzero_lab.cli.console import console
from lzero_lab.errors import DataError
from lzero_lab.lock import alone_in
from lzero_lab.runs.folder import RunFolder
from lzero_lab.runs.report import of_folder, of_training

_NAME = "report.html"


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "report",
        help="one HTML page of a run: certificate, training, layers, latency, configuration",
        description="Write one HTML file that opens from the disk without a network: certificate, training, gates "
        "over time, layer by layer before -> after, error against density, latency, configuration and warnings. Of a "
        "training, finished or not, its last checkpoint is loaded; of a comparison or a sweep the CSV files are read.",
    )
    parser.add_argument(
        "source", type=texts.path, help="run folder of train, compare or sweep; or one with a front.csv"
    )
    parser.add_argument("--out", type=texts.path, metavar="FILE", help=f"default: {_NAME} in the folder")
    parser.add_argument("--data-dir", type=texts.path, metavar="DIR", help="folder with the files (default: the run's)")
    parser.add_argument(
        "--front",
        type=texts.density,
        nargs="+",
        default=[],
        metavar="0.1",
        help="densities of the parameters to cut the trained network at, for validation error against density",
    )
    parser.add_argument(
        "--files-only",
        action="store_true",
        help="of a training: build no model and load no data; without parameters, MACs and times of its layers",
    )
    parser.set_defaults(run=run, check=check)


def check(options: argparse.Namespace) -> str | None:
    """What is wrong with options that do not go together."""
    return "--front needs the trained network; leave out --files-only" if options.front and options.files_only else None


def run(options: argparse.Namespace) -> None:
    """Read, write and show where."""
    source: Path = options.source
    content = _content(source, options)
    output: Path = options.out or source / _NAME
    if RunFolder(output.parent).config.is_file():
        with alone_in(output.parent):
            write(content, output)
    else:
        write(content, output)
    console().print(f"report: {output}")


def _content(source: Path, options: argparse.Namespace) -> Content:
    folder = RunFolder(source)
    config = folder.read_config() if folder.config.is_file() else {}
    if config.get("command", "train") != "train" or not {"recipe", "data"} <= config.keys():
        return of_folder(source)
    recipe = opt.read_recipe(config, folder.path)
    if options.files_only:
        return of_training(folder, recipe)
    try:
        data = datasets.load(*opt.source_of(config, folder.config, options.data_dir))
    except DataError as problem:
        raise DataError(f"{problem}; or use --files-only, for what the run's files hold") from problem
    return of_training(folder, recipe, data, options.front)
