"""The study of CIFAR-10 on a GPU, in so many minutes: as many of its trainings as fit, the most important ones first.

    python benchmarks/gpu_cifar.py --data-dir <folder with cifar10-jpeg.tar.gz> --minutes 8 --out runs/gpu-cifar

A short trial of all kinds of training, side by side as later on, says how long a step takes. The number of epochs, the
same for all, is the largest one with which the first budgets of the study (--must) are finished in time with its first
seed; the rest of the time goes to the other budgets and seeds. --out gets cells.csv and epochs.csv, rewritten after
every training; cifar.toml, the study with these epochs; at the end table.md, and unfinished-1.tar, ... with the
checkpoints of trainings that were cut short. Given the same --out and --epochs again, it goes on from there.

    lzero study OUT/cifar.toml --report --out OUT

draws the figures.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import replace
from importlib import resources
from pathlib import Path

from lzero.errors import LzeroError
from lzero.recorder import Row
from lzero_lab.datasets.cifar10 import find_archive
from lzero_lab.studies.cell import Cell, train_cell, weights_path
from lzero_lab.studies.cells import EPOCHS, CellTable, can_begin, with_sources
from lzero_lab.studies.forecast import Kind, Pace, kind, known, laid_out, measured
from lzero_lab.studies.report import CELLS, write_report
from lzero_lab.studies.row import device_name
from lzero_lab.studies.study import Study
from lzero_lab.studies.workers import run_tasks

CHOICES = (6, 8, 10, 12, 14, 16, 20, 24, 30, 40)  # epochs
STARTING = 25.0  # seconds until all workers train
ENDING = 30.0  # seconds kept for epochs in progress, the last purges, and the table
SPARE = 0.9  # share of the other time that is planned
TARS, LARGEST = 3, 15 << 20  # how many there may be, and bytes of one
DECODE = "import sys; from lzero_lab.datasets.cifar10 import decode; decode(*sys.argv[1:])"


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    started = time.time()
    end = started + 60 * options.minutes
    try:
        find_archive(options.data_dir)
    except LzeroError as problem:
        raise SystemExit(str(problem)) from problem
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        images, work = Path(folder, "images"), Path(folder, "work")
        work.mkdir()
        decoding = subprocess.Popen([sys.executable, "-c", DECODE, str(options.data_dir), str(images)])
        take_up(options.out, work)
        study = part(options)
        say(f"{len(study.cells())} trainings, {options.workers} at a time on {device_name(options.device)}")
        if not options.epochs:
            options.epochs = chosen(study, options, end)
        study = with_epochs(study, options)
        if decoding.wait():
            return 1  # it has said why
        say(f"images decoded; {options.epochs} epochs a training, {end - time.time():.0f} s left")
        train_all(study.cells(str(images)), options, work, end - options.ending)
        pack(study.cells(), work, options.out)
        for name in (CELLS, EPOCHS):
            if (options.out / name).exists():
                shutil.copyfile(options.out / name, work / name)
        for file in write_report(work, study)[:1]:
            shutil.copyfile(file, options.out / file.name)
    say(f"done in {time.time() - started:.0f} s")
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    accepted = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    accepted.add_argument("--data-dir", default=os.environ.get("LZERO_DATA", "data"))
    accepted.add_argument("--minutes", type=float, default=8)
    accepted.add_argument("--out", type=Path, default=Path("runs/gpu-cifar"))
    accepted.add_argument("--device", default="cuda")
    accepted.add_argument("--workers", type=int, default=16)
    accepted.add_argument("--epochs", type=int, help="of a training; without a trial")
    accepted.add_argument("--trial", type=float, default=45, help="seconds of the trial")
    accepted.add_argument("--ending", type=float, default=ENDING, help="seconds before the end in which nothing begins")
    accepted.add_argument("--must", type=int, default=4, help="budgets that decide about the epochs")
    accepted.add_argument("--budgets", nargs="+")
    accepted.add_argument("--methods", nargs="+")
    accepted.add_argument("--seeds", nargs="+", type=int)
    accepted.add_argument("--small", action="store_true", help="a few steps on the digits, to try this")
    return accepted.parse_args(arguments)


def part(options: argparse.Namespace) -> Study:
    study = Study.read("cifar").choose(budgets=options.budgets, methods=options.methods, seeds=options.seeds)
    return small(study) if options.small else study


def small(study: Study) -> Study:
    """A few steps on the digits."""
    return replace(study.altered(steps=6, batch_size=200, bf16=False), data="digits")


def with_epochs(study: Study, options: argparse.Namespace) -> Study:
    """The study with so many epochs; what it is, as a file in --out too."""
    text = resources.files("lzero_lab").joinpath("studies", "cifar.toml").read_text(encoding="utf-8")
    where = f"Seconds are those of {options.workers} trainings side by side."
    text = re.sub(r"(?m)^epochs = .*$", f"epochs = {options.epochs}", text)
    text = re.sub(r'(?m)^note = "(.*)"$', lambda found: f'note = "{found[1]} {where}"', text)
    (options.out / "cifar.toml").write_text(text, encoding="utf-8")
    return study.altered(epochs=options.epochs)


def chosen(study: Study, options: argparse.Namespace, end: float) -> int:
    """Epochs, so that the first budgets are finished in time, by a trial of the kinds of their trainings."""
    first = study.choose(seeds=study.seeds[:1])
    budgets = list(study.budgets)[: options.must]
    must = first.choose(budgets=budgets).cells()
    try:
        paces = measured(first.cells(), options.device, options.workers, options.trial)
    except Exception as problem:  # the study may do better, each training by itself
        say(f"trial: {type(problem).__name__}: {problem}")
        paces = {}
    for of, pace in paces.items():
        say(f"{of.model}, {of.label}: {1e3 * pace.step:.0f} ms a step, {pace.setup:.1f} s before the first")
    if not paces:
        say("trial: no training took a step")
        return CHOICES[2]
    say(f"trial: {sum(paced(paces, options.workers)):.0f} steps a second")
    left = SPARE * (end - options.ending - STARTING - time.time())
    needed = {epochs: need(first.altered(epochs=epochs).choose(budgets=budgets).cells(), paces, options.workers)
              for epochs in CHOICES}  # fmt: skip
    fitting = [epochs for epochs, seconds in needed.items() if seconds <= left]
    said = ", ".join(f"{epochs} epochs {seconds:.0f} s" for epochs, seconds in needed.items())
    say(f"{len(must)} trainings that must be finished: {said}; {left:.0f} s for them")
    return max(fitting, default=CHOICES[0])


def paced(paces: dict[Kind, Pace], workers: int) -> list[float]:
    """Steps a second of workers that are spread evenly over the kinds."""
    return [workers / len(paces) / pace.step for pace in paces.values()]


def need(cells: list[Cell], paces: dict[Kind, Pace], workers: int) -> float:
    """Seconds until all of the ``cells`` are finished; as much as before the first step again for purging."""
    doubled = {of: Pace(2 * pace.setup, pace.step) for of, pace in paces.items()}
    seconds = known(cells, doubled)
    if seconds is None:  # of fewer workers than networks
        slowest = Pace(max(pace.setup for pace in doubled.values()), max(pace.step for pace in doubled.values()))
        seconds = known(cells, {kind(cell): slowest for cell in cells} | doubled) or []
    return max(laid_out(seconds, workers))


def train_all(cells: list[Cell], options: argparse.Namespace, work: Path, deadline: float) -> None:
    """Train what has no row in --out, until the deadline."""
    table = CellTable(options.out / CELLS, work)

    def keep(outcome: tuple[Row | None, list[Row]]) -> None:
        row, epochs = outcome
        if row is None:
            return
        table.keep(row, epochs)
        shutil.copyfile(work / EPOCHS, options.out / EPOCHS)
        what = f"{row['label']}, {row['budget']}, seed {row['seed']}"
        found = row.get("problem") or (
            f"validation {row['validation_error']:.2%}, test {row['error']:.2%}, MACs {row['shipped_macs']:.1%}, "
            f"parameters {row['shipped_params']:.1%}, {row['seconds']:.0f} s"
        )
        say(f"{what}: {found}")

    left = with_sources(table.unfinished(cells), cells, work)
    tasks = [(cell, options.device, work, deadline) for cell in left]
    run_tasks(attempt, tasks, keep, options.workers, lambda task: can_begin(task[0], work))


def attempt(cell: Cell, device: str, folder: Path, deadline: float) -> tuple[Row | None, list[Row]]:
    """:func:`train_cell`; whatever goes wrong in one training ends no other."""
    try:
        return train_cell(cell, device, folder, deadline)
    except Exception as problem:
        words = " ".join(f"{type(problem).__name__}: {problem}".split())
        return {"cell": cell.key, **dict(cell.labels), "seed": cell.recipe.seed, "problem": words[:500]}, []


def take_up(out: Path, work: Path) -> None:
    """Put what an earlier run has left in --out where this one goes on from it."""
    if (out / EPOCHS).exists():
        shutil.copyfile(out / EPOCHS, work / EPOCHS)
    for path in sorted(out.glob("unfinished-*.tar")):
        with tarfile.open(path) as archive:
            archive.extractall(work, filter="data")


def pack(cells: list[Cell], work: Path, out: Path) -> None:
    """Checkpoints into few files, each of a limited size; where there are too many, those of the first cells."""
    for path in out.glob("unfinished-*.tar"):
        path.unlink()
    weights = [weights_path(work, cell.file_name) for cell in cells if cell.begins_others]
    files = [path for path in (*weights, *(work / f"{cell.file_name}.pt" for cell in cells)) if path.exists()]
    size, number = LARGEST, 0
    for count, path in enumerate(files):
        size += path.stat().st_size + 2048
        if size > LARGEST:
            size, number = path.stat().st_size + 2048, number + 1
        if number > TARS:
            files = files[:count]
            break
        with tarfile.open(out / f"unfinished-{number}.tar", "a") as archive:
            archive.add(path, path.name)
    say(f"{len(set(files) - set(weights))} trainings that were cut short can go on")


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
