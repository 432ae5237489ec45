"""``lzero train``: one training, from a target density to a purged model."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from lzero.recorder import Row
from lzero_lab.cli import options as opt
from lzero_lab.cli import texts
from lzero_lab.cli.console import console, progress, show_files, show_table
from lzero_lab.runs.figures import draw_all
from lzero_lab.runs.folder import RunFolder
from lzero_lab.runs.run import Run, assist, complete
from lzero_lab.training.processes import Processes
from lzero_lab.training.recipe import Recipe, Scope


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "train",
        help="train once to a target density and ship the smaller model",
        description="Train once to a target density; write the purged model, its certificate and the figures.",
        epilog="On several GPUs: torchrun --nproc-per-node 2 --no-python lzero train --device cuda. Each process has a "
        "part of every batch, and --batch-size is that of all together.",
    )
    budget = parser.add_argument_group("budget")
    kind = budget.add_mutually_exclusive_group()
    kind.add_argument("--target", type=texts.density, help=f"density to ship at most (default: {opt.TARGET})")
    kind.add_argument(
        "--penalty", type=texts.positive(float), metavar="λ", help="train with this penalty, without a target"
    )
    kind.add_argument("--dense", action="store_true", help="train without gates")
    opt.add_measure(budget)
    budget.add_argument(
        "--scope",
        type=texts.scope,
        default="model",
        help='what the target holds for: model, layer (each), or "name=0.3,name=0.5" (default: %(default)s)',
    )
    budget.add_argument(
        "--also",
        type=texts.further_budget,
        nargs="+",
        default=[],
        metavar="MEASURE=DENSITY",
        help="further budgets of the whole model beside the target, such as macs=0.1",
    )
    opt.add_data(parser)
    opt.add_training(parser)
    opt.add_run(parser)
    parser.set_defaults(run=run, check=check, together=True)


def check(options: argparse.Namespace) -> str | None:
    """What is wrong with options that do not go together."""
    if not isinstance(options.scope, str) and (options.target is not None or options.penalty or options.dense):
        return "--scope with targets of its own: leave out --target, --penalty and --dense"
    if options.scope != "model" and (options.penalty or options.dense):
        return "--scope is for a target; leave it out with --penalty and --dense"
    if options.also and (options.penalty or options.dense):
        return "--also is for what has a target; leave it out with --penalty and --dense"
    if len(dict(options.also)) < len(options.also):
        return "--also: a measure is named twice; give each one density"
    if options.measure in dict(options.also):
        return f"--also {options.measure}: the target counts that already; give it another measure, or leave it out"
    return None


def run(options: argparse.Namespace) -> None:
    """Train, purge, draw and show."""
    processes: Processes = options.processes
    options.device = processes.meet(options.device)
    data, recipe = opt.load_data(options), _recipe(options)
    if not processes.first:
        return assist(recipe, data, processes)
    folder = RunFolder(opt.out(options, _name(recipe), f"seed{recipe.seed}"))
    with folder.claim(opt.config(options, recipe, **processes.decide()), resume=options.resume):
        with progress(recipe.epochs, quiet=options.quiet) as on_epoch:
            finished = complete(folder, recipe, data, on_epoch, recipe.method, processes)
        figures = draw_all(folder.path)
    show_table(_rows(finished, recipe))
    console().print(str(finished.certificate))
    show_files(figures, folder.path)


def _recipe(options: argparse.Namespace) -> Recipe:
    if options.dense:
        return opt.recipe(options, method="dense")
    if options.penalty:
        return opt.recipe(options, method="penalized", coefficient=options.penalty)
    own_targets = not isinstance(options.scope, str)
    target = None if own_targets else options.target or opt.TARGET
    return opt.recipe(options, method="constrained", target=target, scope=options.scope, also=dict(options.also))


def _name(recipe: Recipe) -> str:
    if recipe.method != "constrained":
        return "dense" if recipe.method == "dense" else f"penalty{recipe.coefficient:g}"
    target = [] if recipe.target is None else [f"{recipe.target:g}"]
    also = [f"{measure}-{density:g}" for measure, density in recipe.also.items()]
    return "-".join([recipe.measure, *_scope_words(recipe.scope), *target, *also])


def _scope_words(scope: Scope) -> list[str]:
    if isinstance(scope, str):
        return [] if scope == "model" else [scope]
    return [f"{path}={target:g}" for path, target in scope.items()]


def _rows(finished: Run, recipe: Recipe) -> list[Row]:
    """One row for the model; where its layers have budgets of their own, one more for each."""
    summary, certificate = finished.summary, finished.certificate
    whole: Row = {
        "method": recipe.method,
        "trainings": 1,
        "seconds": summary.seconds,
        "before_settling": summary.before_settling,
        "shipped": summary.shipped,
        "parameters": summary.parameters,
        "validation_error": summary.validation_error,
        "error": summary.test_error,
    }
    if recipe.method == "penalized" and not isinstance(recipe.coefficient, Mapping):
        whole["coefficient"] = recipe.coefficient
    if recipe.measure in certificate.asked:
        whole["asked"] = certificate.asked[recipe.measure]
    parts: list[Row] = [
        {
            "part": name,
            "asked": asked,
            "before_settling": certificate.before_settling[name],
            "shipped": certificate.deployed[name],
        }
        for name, asked in certificate.asked.items()
        if name != recipe.measure
    ]
    return [whole | {"part": recipe.measure}, *parts] if parts else [whole]
