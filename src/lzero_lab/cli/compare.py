"""``lzero compare``: the constraint against a grid of penalties and against bisection."""

from __future__ import annotations

import argparse

from lzero_lab.cli import options as opt
from lzero_lab.cli import texts
from lzero_lab.cli.console import progress, show_files, show_table
from lzero_lab.runs.compare import GRID, compare
from lzero_lab.runs.figures import draw_all
from lzero_lab.runs.folder import RunFolder


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "compare",
        help="constrained training against a penalty grid and against bisection on the penalty",
        description="Reach one density in three ways, side by side: by a constraint, by a grid of penalties, and by "
        "bisection on the penalty; write the figure and the table with the trainings and seconds that each needed.",
    )
    budget = parser.add_argument_group("budget")
    budget.add_argument(
        "--target", type=texts.density, default=opt.TARGET, help="density to ship (default: %(default)s)"
    )
    opt.add_measure(budget)
    baselines = parser.add_argument_group("baselines")
    baselines.add_argument(
        "--grid",
        type=texts.positive(float),
        nargs="+",
        default=list(GRID),
        metavar="λ",
        help=f"penalties (default: {' '.join(f'{value:g}' for value in GRID)})",
    )
    baselines.add_argument(
        "--tolerance", type=texts.distance, default=0.01, help="distance at which bisection ends (default: %(default)s)"
    )
    baselines.add_argument(
        "--max-trainings", type=texts.positive(int), default=16, help="of bisection (default: %(default)s)"
    )
    opt.add_data(parser)
    opt.add_training(parser)
    opt.add_run(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Train every way, draw and show."""
    data = opt.load_data(options)
    recipe = opt.recipe(options, method="constrained", target=options.target)
    folder = RunFolder(opt.out(options, recipe.measure, f"{options.target:g}", f"seed{recipe.seed}"))
    search = {"grid": options.grid, "tolerance": options.tolerance, "max_trainings": options.max_trainings}
    with folder.claim(opt.config(options, recipe, **search), resume=options.resume):
        with progress(recipe.epochs, quiet=options.quiet) as on_epoch:
            comparison = compare(recipe, data, folder.path, **search, on_epoch=on_epoch)
        figures = draw_all(folder.path)
    show_table(comparison.rows.rows, f"{options.data}, {recipe.model}: {recipe.measure} <= {options.target:.2%}")
    show_files(figures, folder.path)
