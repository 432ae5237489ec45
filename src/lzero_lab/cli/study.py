"""``lzero study``: methods, budgets and seeds side by side."""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from lzero.recorder import Recorder, Row
from lzero_lab import datasets
from lzero_lab.cli import options as opt
from lzero_lab.cli import texts
from lzero_lab.cli.console import console, show_files
from lzero_lab.errors import DataError
from lzero_lab.lock import alone_in
from lzero_lab.studies.cell import Cell
from lzero_lab.studies.cells import CellTable, begun, run_cells
from lzero_lab.studies.cluster import Cluster
from lzero_lab.studies.forecast import known, laid_out, measured, paces_of
from lzero_lab.studies.report import CELLS, write_report
from lzero_lab.studies.study import Study, names


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "study",
        help="methods x budgets x seeds: one CSV, a table and figures; finished trainings are never repeated",
        description="Train every method at every budget with every seed. A training that is finished is not repeated, "
        "one that was cut short continues from its last epoch, and one that failed is tried again; run the command "
        "again after a stop.",
    )
    parser.add_argument("study", help=f"one of {', '.join(names())}, or a TOML file with the same sections")
    part = parser.add_argument_group("part of the study")
    part.add_argument("--data", choices=datasets.names(), help="another data set, with nothing else changed")
    part.add_argument("--methods", nargs="+", metavar="NAME", help="default: all")
    part.add_argument("--budgets", nargs="+", metavar="NAME", help="default: all")
    part.add_argument("--seeds", type=texts.seed, nargs="+", help="default: those of the study")
    part.add_argument("--epochs", type=texts.positive(int), help="of all networks, with nothing else changed")
    run_ = parser.add_argument_group("run")
    run_.add_argument("--out", type=texts.path, metavar="DIR", help="folder (default: runs/study-NAME-DATA)")
    run_.add_argument("--hours", type=texts.positive(float), default=math.inf, help="stop after so many hours")
    who = run_.add_mutually_exclusive_group()
    who.add_argument(
        "--workers",
        type=texts.positive(int, opt.MOST_PROCESSES),
        default=1,
        help="trainings at a time (default: %(default)s)",
    )
    who.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="train on the workers of this scheduler of dask.distributed, started with: dask worker ADDRESS --nthreads "
        "1; all of them see --out and --data-dir under the same path",
    )
    run_.add_argument("--data-dir", type=texts.path, metavar="DIR", help="folder with the files of all but digits")
    run_.add_argument(
        "--device", type=texts.device, default=None, help="cpu or cuda (default: cuda where there is one)"
    )
    run_.add_argument(
        "--trial",
        type=texts.positive(float),
        metavar="SECONDS",
        help="first try a few steps for so long, to say how many hours it will take where no row says it",
    )
    run_.add_argument("--report", action="store_true", help="only draw the table and figures of what is there")
    parser.set_defaults(run=run, check=check)


def check(options: argparse.Namespace) -> str | None:
    """What is wrong with options that do not go together."""
    if options.scheduler and options.trial:
        return "--trial tries on this machine, and --scheduler trains on others; leave out one of them"
    return None


def run(options: argparse.Namespace) -> None:
    """Train what is missing, then draw and show."""
    study = Study.read(options.study)
    if options.data:
        study = replace(study, data=options.data)
    if options.epochs:
        study = study.altered(epochs=options.epochs)
    part = study.choose(methods=options.methods, budgets=options.budgets, seeds=options.seeds)
    folder = options.out or Path("runs") / f"study-{Path(options.study).stem}-{study.data}"
    cells = part.cells(None if options.data_dir is None else str(options.data_dir))
    with nullcontext() if options.report and not folder.is_dir() else alone_in(folder):
        if not options.report:
            with Cluster(options.scheduler) if options.scheduler else nullcontext() as cluster:
                _train(cells, folder, cluster, options)
        files = write_report(folder, study)
    keys = {cell.key for cell in cells}
    rows = _rows(keys, folder)
    open_ = [progress.rows for progress in (begun(folder) if folder.is_dir() else [])]
    open_ = [epochs for epochs in open_ if epochs and epochs[-1]["cell"] in keys - {row["cell"] for row in rows}]
    if not files and (rows or options.report or not open_):
        raise _nothing_finished(folder, rows, options.report)
    counts = Counter("failed" if "problem" in row else "finished" for row in rows)
    counted = f"{counts['finished']} of {len(keys)} trainings finished, {counts['failed']} failed"
    console().print(f"{counted}, {len(open_)} begun" if open_ else counted)
    for epochs in open_:
        console().print(f"  begun: {_so_far(epochs[-1])}")
    if open_ and not options.report:
        console().print("their checkpoints are saved: run the same command again, and they go on from there")
    if not files:
        return
    console().print(files[0].read_text(encoding="utf-8"))
    show_files(files[1:], folder)


def _train(cells: Sequence[Cell], folder: Path, cluster: Cluster | None, options: argparse.Namespace) -> None:
    """Say how long it will take, and train."""
    device = options.device or opt.best_device()
    workers = options.workers if cluster is None else max(1, cluster.workers)
    _say_hours(CellTable(folder / CELLS), cells, device, workers, options)
    run_cells(
        cells,
        folder / CELLS,
        workers=workers,
        cluster=cluster,
        device=device,
        folder=folder,
        hours=options.hours,
        progress=_show_row,
    )


def _say_hours(table: CellTable, cells: Sequence[Cell], device: str, workers: int, options: argparse.Namespace) -> None:
    """How many trainings there are to go, and how long they will take, as far as that is known."""
    left = table.unfinished(cells)
    if not left:
        return
    paces = paces_of(table.rows, device)
    if options.trial and known(left, paces) is None:
        networks = {cell.recipe.model: cell for cell in reversed(left)}
        paces |= measured(list(networks.values())[::-1], device, workers, options.trial)
    seconds = known(left, paces)
    if seconds is None:
        trial = "" if options.scheduler else ", or by --trial"
        console().print(f"trainings to go: {len(left)}; how long is known when the first is finished{trial}")
        return
    hours = max(laid_out(seconds, workers)) / 3600
    console().print(f"trainings to go: {len(left)}, about {hours:.2g} hours on {device} at {workers} a time")


def _show_row(row: Row) -> None:
    if "problem" in row:
        console().print(f"{_name(row)}: {row['problem']}")
        return
    shipped = f"shipped {row['shipped']:.2%}, test error {row['error']:.2%}, {float(row['seconds']):.0f} seconds"
    console().print(f"{_name(row)}: {shipped}")


def _name(row: Row) -> str:
    return f"{row['label']}, {row['budget']}, seed {row['seed']}"


def _so_far(row: Row) -> str:
    """How far a training has come, by the row of its last epoch."""
    density = f", density {row['deployed']:.1%}" if "deployed" in row else ""
    return (
        f"{_name(row)}: epoch {row['epoch']}, step {row['step']:,} of {row['total_steps']:,} "
        f"({int(row['step']) / int(row['total_steps']):.0%}){density}, validation error {row['error']:.2%}"
    )


def _rows(keys: set[str], folder: Path) -> list[Row]:
    """Those of the trainings with these ``keys``."""
    path = folder / CELLS
    return [row for row in Recorder.from_csv(path) if row["cell"] in keys] if path.exists() else []


def _nothing_finished(folder: Path, failed: Sequence[Row], report: bool) -> DataError:
    """Why there is nothing to draw, and what helps."""
    if failed:
        first = f"{_name(failed[0])}: {failed[0]['problem']}"
        return DataError(f"{folder}: no training has finished, {len(failed)} failed; the first is {first}")
    if report:
        return DataError(f"{folder}: no training has finished; leave out --report")
    return DataError(f"{folder}: no training has finished, and no epoch of one; give the study more --hours")
