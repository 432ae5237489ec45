"""``lzero sweep``: many budgets and seeds, one training each."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lzero.cost import COUNTED
from lzero_lab.cli import options as opt
from lzero_lab.cli import texts
from lzero_lab.cli.console import progress, show_files, show_table
from lzero_lab.runs.figures import draw_all
from lzero_lab.runs.folder import RunFolder
from lzero_lab.runs.sweep import sweep

_TARGETS = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8)


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "sweep",
        help="constrained trainings over several targets, seeds and measures",
        description="Train once for every target, seed and measure; show what was asked and what was shipped.",
    )
    budget = parser.add_argument_group("budget")
    budget.add_argument(
        "--target",
        type=texts.density,
        nargs="+",
        default=list(_TARGETS),
        help=f"densities (default: {_words(_TARGETS)})",
    )
    budget.add_argument("--measure", choices=COUNTED, nargs="+", default=["params"], help="default: params")
    budget.add_argument(
        "--scope", choices=("model", "layer"), default="model", help="what a target holds for (default: %(default)s)"
    )
    opt.add_data(parser)
    opt.add_training(parser, one_seed=False)
    parser.add_argument("--seed", type=texts.seed, nargs="+", default=[0], help="default: 0")
    opt.add_run(parser)
    parser.set_defaults(run=run)


def _words(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def run(options: argparse.Namespace) -> None:
    """Train every cell, draw and show."""
    data = opt.load_data(options)
    asked = {"targets": options.target, "seeds": options.seed, "measures": options.measure}
    cells = {name: list(dict.fromkeys(values)) for name, values in asked.items()}
    recipe = opt.recipe(options, scope=options.scope, seed=options.seed[0], measure=options.measure[0])
    folder = RunFolder(opt.out(options, *options.measure, options.scope))
    with folder.claim(opt.config(options, recipe, **cells), resume=options.resume):
        with progress(recipe.epochs, quiet=options.quiet) as on_epoch:
            rows = sweep(recipe, data, folder.path, **cells, on_epoch=on_epoch)
        figures = draw_all(folder.path)
    cells_only = [{name: value for name, value in row.items() if name != "method"} for row in rows]
    show_table(cells_only, f"{options.data}, {recipe.model}: one constrained training a row")
    show_files(figures, folder.path)
