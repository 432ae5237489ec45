"""``lzero purge``: the purged model of a run folder, as its training stands."""

from __future__ import annotations

import argparse

from lzero_lab import datasets
from lzero_lab.cli import options as opt
from lzero_lab.cli import texts
from lzero_lab.cli.console import console
from lzero_lab.lock import alone_in
from lzero_lab.runs.folder import RunFolder
from lzero_lab.training.summary import ship
from lzero_lab.training.training import Training


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "purge",
        help="purge the model in a run folder and print its certificate",
        description="Purge the model of a training, finished or not, as its last checkpoint has it; write it "
        "as safetensors and JSON, and its certificate, and print that.",
    )
    parser.add_argument("folder", type=texts.path, help="run folder of one training")
    parser.add_argument("--data-dir", type=texts.path, metavar="DIR", help="folder with the files (default: the run's)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Rebuild the training from its checkpoint, purge and show."""
    folder = RunFolder(options.folder)
    config = folder.read_config()
    recipe = opt.read_recipe(config, folder.path)
    data = datasets.load(*opt.source_of(config, folder.config, options.data_dir))
    with alone_in(folder.path):
        result = ship(Training(recipe, data).load(folder.checkpoint))
        folder.write_shipped(result)
    console().print(str(result.certificate))
    console().print(f"purged: {folder.purged}")
