"""The scoreboard: every type of the installed transformers (torchvision, timm) that can be built small, a row each.

    python scoreboard/run.py [--of LIBRARY] [--only NAME ...] [--limit SECONDS] [--jobs 1] [--first N] [--again STATE]

Rows are appended to `scoreboard/transformers.csv` (`torchvision.csv`, `timm.csv`) as they are made. Types that have one
are skipped, so that a run that was stopped goes on where it was; `--again "not built"` drops the rows of a state first.
The order is one drawn once for all, so that a part of the rows is a sample of all.
`python scoreboard/page.py` makes docs/scoreboard.md of them.
"""

import argparse
import csv
import hashlib
import multiprocessing
import os
import resource
import signal
import sys
import time
import warnings
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path

import torch
from row import Row, measure
from source import source

FILE = Path(__file__).parent / "transformers.csv"
GIBIBYTES = 12
PATIENCE = 4
COLUMNS = [field.name for field in fields(Row)]


def done(path):
    """The types that have a row."""
    if not Path(path).exists():
        return set()
    with Path(path).open(newline="", encoding="utf-8") as file:
        return {line["type"] for line in csv.DictReader(file)}


def append(row, path):
    """Write one more row."""
    new = not Path(path).exists()
    with Path(path).open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        shown = asdict(row)
        shown["worst"] = "" if row.worst is None else f"{row.worst:.1e}"
        shown["reason"] = " ".join(row.reason.split())
        writer.writerow(shown)


def forget(state, path):
    """Drop the rows of a state."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        kept = [line for line in csv.DictReader(file) if line["state"] != state]
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)


def order(kinds):
    """A fixed order that looks random."""
    return sorted(kinds, key=lambda kind: hashlib.sha256(kind.encode()).hexdigest())


def apart(kind, limit, work=measure):
    """The row of a type, by a process of its own that has `limit` seconds of the CPU and `GIBIBYTES` of memory.

    It has `PATIENCE` times as long by the clock: on a busy machine, rows are what they are on one that is not.
    """
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("fork" if "fork" in methods else "spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(theirs, kind, work, limit), daemon=True)
    process.start()
    theirs.close()
    row, end, started = Row(kind, state="not built"), time.monotonic() + PATIENCE * limit, time.monotonic()
    try:
        last = False
        while not last and ours.poll(max(0.0, end - time.monotonic())):
            row, last = ours.recv()
        if not last:
            row.reason = f"{row.reason}: more than {PATIENCE * limit:g} s by the clock"
    except EOFError:
        process.join()
        if process.exitcode == -signal.SIGPROF:
            row.reason = f"{row.reason}: more than {limit:g} s"
            return row, time.monotonic() - started
        row.state = "crash" if row.state == "time" else row.state
        row.reason = f"{row.reason}: its process ended with {process.exitcode}"
    finally:
        process.kill()
        process.join()
        ours.close()
    return row, time.monotonic() - started


def _child(pipe, kind, work, limit):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, limit)  # its signal ends the process
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (GIBIBYTES << 30,) * 2)
    pipe.send((work(kind, lambda row: pipe.send((row, False))), True))


def _several(kinds, limit, jobs, work):
    if jobs == 1:
        yield from (apart(kind, limit, work) for kind in kinds)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(lambda kind: apart(kind, limit, work), kinds)


def main(arguments=None):
    """Measure what has no row yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of", choices=["transformers", "torchvision", "timm"], default="transformers")
    parser.add_argument("--only", nargs="+", help="types; all where there are none")
    parser.add_argument("--limit", type=float, default=60, help="seconds of the CPU for a type")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--first", type=int, help="stop after so many rows")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--again", metavar="STATE", help="measure types of this state again")
    asked = parser.parse_args(arguments)
    found = source(asked.of)
    file = asked.csv or found.file
    if asked.again:
        forget(asked.again, file)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the process of a type ends with this one
    has, work = done(file), partial(measure, of=asked.of)
    kinds = [kind for kind in asked.only or order(found.types()) if kind not in has][: asked.first]
    for place, (row, seconds) in enumerate(_several(kinds, asked.limit, asked.jobs, work), start=1):
        append(row, file)
        print(f"{place}/{len(kinds)} {row.type} {row.state} {seconds:.0f} s {row.reason[:100]}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
