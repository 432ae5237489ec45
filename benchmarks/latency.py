"""Budgets of latency: asked against measured on the purged model, and against a MACs budget of the same latency.

    python benchmarks/latency.py [--data shared/data] [--pretrain 2000] [--steps 2000] [--only LeNet-5 ViT]
                                 [--batches 1 32] [--targets 0.5 0.25] [--examples 128] [--seed 0]
                                 [--out benchmarks/latency.csv]

Three networks, two batch sizes and two targets: twelve cells. Every network is trained first, since how long a forward
takes may depend on its values (the pooling of LeNet-5 does), and its table is measured then; from there gates are
trained under the budget, and the purged model is timed again beside the dense one, with one thread. The MACs budget
that leads to the same latency by the table is found by training up to four times. Rows are appended as they come; a
row that is there already is not measured again, and latency.md is written anew at the end. A target below what one unit
of every layer takes is raised to a tenth of the way from there to the whole. ``--data none`` stands for made-up images,
to see that it runs.
"""

import argparse
import copy
import csv
import itertools
import time
import warnings
from pathlib import Path

import torch
from networks import NETWORKS, ViT
from rows import machine
from torch.nn import functional as F

import lzero
from lzero.cost import Cost
from lzero_lab.datasets import load
from lzero_lab.datasets.dataset import Dataset
from lzero_lab.models import LeNet5

CELLS = {
    "LeNet-5": (LeNet5, "mnist", (1, 28, 28)),
    "ResNet-20": (NETWORKS["ResNet-20"].build, "cifar10", (3, 32, 32)),
    "ViT": (ViT, "cifar10", (3, 32, 32)),
}
RATE = 1e-3
NEAR, TRIES = 0.03, 4  # of the latency that is asked for, and trainings to come there by MACs
NUMBERS = (
    *("asked", "by_table", "measured", "dense_ms", "purged_ms", "dense_table_ms", "purged_table_ms"),
    *("floor", "macs", "params", "error", "dense_error", "table_seconds", "train_seconds"),
)
KEY = ("network", "batch", "target", "budget", "seed")
COLUMNS = (*KEY, *NUMBERS, "trainings", "pretrain", "steps", "machine")


def made_up(shape, examples=2560):
    """Ten prototypes and noise: something to learn, where there are no data."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(examples) % 10
    prototypes = torch.randn(10, *shape, generator=generator)
    images = prototypes[labels] + 2 * torch.randn(examples, *shape, generator=generator)
    parts = zip(images.split(examples // 2), labels.split(examples // 2), strict=True)
    (x, y), (other, others) = parts
    return Dataset("made up", x, y, other, others, other, others)


def train(model, data, steps, seed, examples, step=lambda: None):
    """Adam with a rate that falls to 0; ``step`` after every backward."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    model.train()
    for _ in range(steps):
        chosen = torch.randint(len(data.train_x), (examples,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(model(data.train_x[chosen]), data.train_y[chosen]).backward()
        step()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def error_of(model, data):
    """Of the validation images."""
    model.eval()
    wrong = [
        (model(x).argmax(1) != y).sum()
        for x, y in zip(data.validation_x.split(500), data.validation_y.split(500), strict=True)
    ]
    return float(sum(wrong)) / len(data.validation_x)


class Cell:
    """One trained network with its table at one batch size."""

    def __init__(self, build, data, dense, batch, options):
        self.build, self.data, self.dense, self.options = build, data, dense, options
        begun = time.perf_counter()
        self.table = lzero.latency.measure(dense, data.validation_x[:batch], threads=1)
        self.seconds = time.perf_counter() - begun
        gates = lzero.attach_gates(copy.deepcopy(dense), data.validation_x[:2])
        cost = Cost(gates, "latency", tables=self.table)
        self.floor = float(cost.fraction(gates.floor())[0])

    def asked(self, target):
        """``target``, or where a unit of every layer takes longer, a tenth of the way from there to the whole."""
        return target if target > self.floor else round(self.floor + 0.1 * (1 - self.floor), 3)

    def train(self, constraints):
        """The purged model of one training, and its row."""
        torch.manual_seed(self.options.seed)
        model = self.build()
        model.load_state_dict(self.dense.state_dict())
        gates = lzero.attach_gates(model, self.data.validation_x[:2])
        solver = lzero.Solver(gates, constraints=constraints, total_steps=self.options.steps)
        begun = time.perf_counter()
        train(model, self.data, self.options.steps, self.options.seed + 1, self.options.examples, solver.step)
        seconds = time.perf_counter() - begun
        asked = [*constraints, lzero.Constraint(1.0, "latency", table=self.table)][:2]
        budgets = asked if constraints[0].measure == "macs" else constraints
        result = lzero.purge(model, constraints=budgets)
        latency = result.certificate.latency
        macs = [result.table().total(name) for name in ("macs", "macs_before")]
        return {
            "by_table": latency.predicted / latency.predicted_before,
            "measured": latency.measured / latency.measured_before,
            "dense_ms": latency.measured_before,
            "purged_ms": latency.measured,
            "dense_table_ms": latency.predicted_before,
            "purged_table_ms": latency.predicted,
            "macs": macs[0] / macs[1],
            "params": result.certificate.parameters / result.certificate.parameters_before,
            "error": error_of(result.model, self.data),
            "floor": self.floor,
            "table_seconds": self.seconds,
            "train_seconds": seconds,
        }

    def by_macs(self, target, macs):
        """The row of the MACs budget with the latency ``target`` by the table; ``macs`` is where the search begins."""
        low, high, row = 0.0, 1.0, {}
        for number in range(1, TRIES + 1):
            row = {"asked": macs, **self.train([lzero.Constraint(macs, "macs")]), "trainings": number}
            if abs(row["by_table"] / target - 1) <= NEAR:
                break
            low, high = (macs, high) if row["by_table"] < target else (low, macs)
            step = macs * target / row["by_table"]
            macs = step if low < step < high else (low + high) / 2
        return row


def append(path, row):
    """One row at the end of a CSV, which gets a heading first."""
    begun = path.exists()
    shown = {name: f"{value:.5g}" if isinstance(value, float) else value for name, value in row.items()}
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not begun:
            writer.writeheader()
        writer.writerow(shown)


def read(path):
    """The rows that are there already, by what they are of."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {tuple(row[name] for name in KEY): row for row in csv.DictReader(file)}


def write_page(path):
    """``latency.md`` beside the CSV at ``path``: a line a cell, and how many are within a tenth of what was asked."""
    found = read(path)
    pairs = [(row, found.get((*key[:3], "macs", key[4]))) for key, row in found.items() if row["budget"] == "latency"]
    near = sum(abs(float(row["measured"]) / float(row["asked"]) - 1) <= 0.1 for row, _ in pairs)
    machines = "; ".join(sorted({row["machine"] for row, _ in pairs}))
    lines = [
        "# Asked and measured latency",
        "",
        f"Made by `python benchmarks/latency.py` from [{path.name}]({path.name}): trained networks, then under a",
        "budget of latency, in shares of the whole network's; the purged network is timed again, in turns with the",
        "whole one. Beside it the budget of MACs that takes as long by the table, and how many trainings it took to",
        "find it (at most four).",
        f"Validation errors; one seed a cell. {machines}.",
        "",
        f"**{near} of {len(pairs)} cells are within 10 % of what was asked.**",
        "",
        "| network, steps | batch | asked | by the table | measured | off by | MACs | error | MACs budget: measured "
        "| error | trainings | whole: error |",
        f"|---|{'---:|' * 11}",
    ]
    for row, other in pairs:
        off = float(row["measured"]) / float(row["asked"]) - 1
        shares = [f"{float(row[name]):.1%}" for name in ("asked", "by_table", "measured")]
        cells = [f"{row['network']}, {row['steps']}", row["batch"], *shares, f"{off:+.1%}", f"{float(row['macs']):.1%}"]
        cells.append(f"{float(row['error']):.2%}")
        if other is None:
            cells += ["", "", ""]
        else:
            cells += [f"{float(other['measured']):.1%}", f"{float(other['error']):.2%}", other["trainings"]]
        whole = f"{float(row['dense_error']):.2%}"
        lines.append(f"| {' | '.join([*cells, whole])} |")
    path.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def keyed(*values):
    """What a row is of, as words."""
    return tuple(f"{value:.5g}" if isinstance(value, float) else str(value) for value in values)


def main(arguments=None):
    """Everything that is missing in the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="shared/data")
    parser.add_argument("--only", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 32])
    parser.add_argument("--targets", nargs="+", type=float, default=[0.5, 0.25])
    parser.add_argument("--pretrain", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--examples", type=int, default=128, help="of a training step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", lzero.LzeroWarning)  # on short trainings
    fixed = {"pretrain": options.pretrain, "steps": options.steps, "machine": machine(), "seed": options.seed}
    for name in options.only:
        done = read(options.out)
        cells = list(itertools.product(options.batches, options.targets))
        wanted = [keyed(name, *cell, kind, options.seed) for cell in cells for kind in ("latency", "macs")]
        if all(key in done for key in wanted):
            continue
        build, source, shape = CELLS[name]
        data = made_up(shape) if options.data == "none" else load(source, options.data)
        torch.manual_seed(options.seed)
        dense = build()
        train(dense, data, options.pretrain, options.seed, options.examples)
        common = {"network": name, "dense_error": error_of(dense, data), **fixed}
        for batch in options.batches:
            cell = None
            for target in options.targets:
                place = {**common, "batch": batch, "target": target}
                first, second = (keyed(name, batch, target, kind, options.seed) for kind in ("latency", "macs"))
                cell = cell or Cell(build, data, dense, batch, options)
                if first not in done:
                    asked = cell.asked(target)
                    row = cell.train([lzero.Constraint(asked, "latency", table=cell.table)])
                    row = {**place, "budget": "latency", "asked": asked, **row, "trainings": 1}
                    append(options.out, row)
                if second not in done:
                    start = float(read(options.out)[first]["macs"])
                    append(options.out, {**place, "budget": "macs", **cell.by_macs(cell.asked(target), start)})
                for key in (first, second):
                    row = read(options.out)[key]
                    print(" ".join(key), *(f"{n}={row[n]}" for n in NUMBERS[:7]), f"error={row['error']}", flush=True)
    write_page(options.out)


if __name__ == "__main__":
    main()
