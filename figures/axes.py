"""Which axis of a network costs least: units, width, depth or all; writes axes.csv, axes.md and axes.png.

    python figures/axes.py --data-dir <folder with cifar10-jpeg.tar.gz> --device cuda --jobs 16 --minutes 6
    python figures/axes.py --speed --device cpu --jobs 4

A language model over bytes and a vision transformer are trained to a share of their parameters, by what is gated; dense
networks of the whole and of the same size beside them. First the whole dense network is trained at several rates; all
further trainings have the rate with the least validation loss. A row of the CSV is a finished training, and is not made
again: run the same line to go on. With --minutes, trainings that would not end in time are given up. --speed measures
the forwards of what was shipped, on an otherwise idle machine.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import torch
from axes_data import decoded
from axes_page import page, plot
from axes_training import DENSE, PRESETS, Cell, speed, train
from script import HERE, parser

from lzero import Recorder
from lzero.errors import LzeroError
from lzero.recorder import Row
from lzero_lab.files import write_text
from lzero_lab.lock import alone_in
from lzero_lab.studies.workers import run_tasks
from lzero_lab.training.runtime import configure_cpu

GRANULARITIES = ("unit", "width", "depth", "width+depth")
TASKS = ("gpt", "vit")


class Table:
    """The CSV, rewritten as a whole after every row."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = Recorder.from_csv(path).rows if path.exists() else []

    def has(self, cell: Cell) -> bool:
        """Whether a training has its row."""
        return any(cell.in_(row) for row in self.rows)

    def keep(self, row: Row) -> None:
        """One more row, said too."""
        self.rows.append(row)
        self.write()
        said = f"{row['test_loss']:.4f} nats, error {row['test_error']:.2%}, share {row['share']:.2%}"
        print(f"{words(row)}: {said}, {row['step_ms']:.1f} ms a step", flush=True)

    def write(self) -> None:
        """The file, of all rows."""
        Recorder(self.rows).to_csv(self.path)


def words(row: Row) -> str:
    """A training, for people."""
    return f"{row['task']}, {row['granularity']}, {row['asked']:.0%}, rate {row['lr']:g}, seed {row['seed']}"


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    configure_cpu(threads=1)
    deadline = time.time() + 60 * options.minutes
    with alone_in(options.out.parent):
        table = Table(options.out)
        if options.speed:
            measure(table, options)
        else:
            with tempfile.TemporaryDirectory() as folder:
                options.data_dir = shared(options, Path(folder))
                if not options.lr:
                    run(table, rate_cells(options), options, deadline)
                run(table, cells(table.rows, options), options, deadline)
        if table.rows:
            write_text(options.out.with_suffix(".md"), page(table.rows))
            plot(table.rows, options.out.with_suffix(".png"))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    accepted = parser(__doc__, workers=False)  # --data-dir may also be a file that axes_data.decoded wrote
    accepted.add_argument(
        "--small", dest="preset", action="store_const", const="small", default="full", help="tiny, to try it"
    )
    accepted.add_argument("--steps", type=int, help="of a training")
    accepted.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    accepted.add_argument("--granularities", nargs="+", default=GRANULARITIES)
    accepted.add_argument("--shares", nargs="+", type=float, default=(0.5, 0.2))
    accepted.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    accepted.add_argument("--lr", type=float, help="the rate, instead of the choice")
    accepted.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    accepted.add_argument("--jobs", type=int, default=1, help="trainings at a time, each in a process")
    accepted.add_argument("--minutes", type=float, default=math.inf)
    accepted.add_argument("--speed", action="store_true", help="measure forwards, on --device, and train nothing")
    accepted.add_argument("--pairs", type=int, default=11, help="of forwards, for --speed")
    accepted.add_argument("--out", type=Path, help="the CSV; beside it, page and figure")
    options = accepted.parse_args(arguments)
    options.out = options.out or {"full": HERE, "small": Path("runs/axes")}[options.preset] / "axes.csv"
    options.steps = options.steps or PRESETS[options.preset].steps
    return options


def shared(options: argparse.Namespace, folder: Path) -> str:
    """Where the images lie, decoded once for all processes."""
    if "vit" not in options.tasks or str(options.data_dir).endswith(".pt"):
        return str(options.data_dir)
    try:
        return str(decoded(options.data_dir, folder / "cifar10.pt"))
    except LzeroError as problem:
        raise SystemExit(str(problem)) from problem


def rate_cells(options: argparse.Namespace) -> list[Cell]:
    """The dense networks that a rate is chosen by."""
    rates, seed = PRESETS[options.preset].rates, options.seeds[0]
    return [Cell(options.preset, task, DENSE, 1.0, options.steps, lr, seed) for task in options.tasks for lr in rates]


def cells(rows: list[Row], options: argparse.Namespace) -> list[Cell]:
    """All trainings at the rates that are chosen, seed by seed."""
    kinds = [(DENSE, 1.0), *((g, share) for share in options.shares for g in (DENSE, *options.granularities))]
    rates = {task: options.lr or chosen(rows, task, options) for task in options.tasks}
    return [
        Cell(options.preset, task, granularity, asked, options.steps, rates[task], seed)
        for seed in options.seeds
        for granularity, asked in kinds
        for task in options.tasks
        if rates[task]
    ]


def chosen(rows: list[Row], task: str, options: argparse.Namespace) -> float:
    """The rate at which the whole dense network has the least validation loss; 0 where it has not been trained."""
    tried = {cell.lr: row for cell in rate_cells(options) if cell.task == task for row in rows if cell.in_(row)}
    return min(tried, key=lambda lr: tried[lr]["validation_loss"], default=0.0)


def run(table: Table, wanted: Iterable[Cell], options: argparse.Namespace, deadline: float) -> None:
    """Train what has no row yet; a training that fails says so, and the others go on."""
    left = [cell for cell in wanted if not table.has(cell)]
    work = [(cell, options.data_dir, options.device, deadline) for cell in left]
    if options.jobs == 1:
        for task in work:
            finished(table, *attempt(*task))
    elif work:
        run_tasks(attempt, work, lambda outcome: finished(table, *outcome), min(options.jobs, len(work)))


def attempt(cell: Cell, *where: object) -> tuple[Cell, Row | str | None]:
    """The row of a training, or what stopped it."""
    try:
        return cell, train(cell, *where)
    except Exception as problem:
        return cell, f"{type(problem).__name__}: {problem}".splitlines()[0]


def finished(table: Table, cell: Cell, outcome: Row | str | None) -> None:
    if isinstance(outcome, dict):
        if not table.has(cell):
            table.keep(outcome)
    else:
        print(f"{words(asdict(cell))}: {outcome or 'no time'}", flush=True)


def measure(table: Table, options: argparse.Namespace) -> None:
    """Columns such as ``cpu_32``, for the rows that have none: how many times as fast as the whole network."""
    missing = [
        (row, batch)
        for row in table.rows
        for batch in (1, 32)
        if row["preset"] == options.preset and row["task"] in options.tasks and f"{options.device}_{batch}" not in row
    ]
    alike = {(size(row), batch): row for row, batch in missing}  # what seeds have in common is measured once
    work = [(row, batch, options.device, options.pairs) for (_, batch), row in alike.items()]
    if options.jobs == 1:
        for one in work:
            keep_speed(table, *timed(*one))
    elif work:
        run_tasks(timed, work, lambda found: keep_speed(table, *found), options.jobs)


def size(row: Row) -> tuple[object, ...]:
    """What the time of a forward depends on."""
    return tuple(row[name] for name in ("preset", "task", "width", "heads", "hidden"))


def timed(row: Row, batch: int, device: str, pairs: int) -> tuple[Row, Row]:
    """A row, and what it gets."""
    milliseconds, ratio = speed(row, batch, device, pairs)
    return row, {f"{device}_{batch}_ms": milliseconds, f"{device}_{batch}": ratio}


def keep_speed(table: Table, measured: Row, found: Row) -> None:
    """Add to all rows of a size, and write the table."""
    for row in table.rows:
        if size(row) == size(measured):
            row |= found
    table.write()


if __name__ == "__main__":
    main()
