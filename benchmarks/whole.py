"""Whole trainings, epoch by epoch in turns: dense, with gates, and with gates and compaction.

    python benchmarks/whole.py NETWORK ... --data DIR [--target 0.1] [--epochs N] [--seeds 3] [--csv FILE]

NETWORK is LeNet-5 or MLP (MNIST), ResNet-20 (CIFAR-10) or GPT (the text that Python brings). Each is trained to a share
of the MACs, three times side by side in one process, an epoch of one after an epoch of the other, the first in turns:
what disturbs one disturbs the others. One row an epoch: its seconds (without evaluation), validation loss and error,
and how much of the MACs the training model still has. Seeds that the CSV holds whole are skipped. The page and the
figure beside it, whole.md and whole.png, are made anew of all rows at the end; `--page` makes them alone.
"""

import argparse
import csv
import sys
import time
from pathlib import Path

import torch
from networks import GPT
from rows import machine
from torch.nn import functional as F
from whole_page import write_page

import lzero
from lzero.cost import Cost
from lzero_lab.datasets import batches, load
from lzero_lab.models import MLP, LeNet5, ResNet

COLUMNS = ("network", "target", "epochs", "seed", "variant", "epoch", "seconds", "loss", "error", "macs", "machine")
VARIANTS = ("dense", "gated", "compacted")
LIMIT = "below "
EPOCHS = {"LeNet-5": 10, "MLP": 10, "ResNet-20": 8, "GPT": 8}
SIZES = {"LeNet-5": 20_000, "MLP": 20_000, "ResNet-20": 10_000, "GPT": 4_096}
TARGETS = {"LeNet-5": 0.1, "MLP": 0.1, "ResNet-20": 0.1, "GPT": 0.25}
BATCH = {"LeNet-5": 128, "MLP": 128, "ResNet-20": 128, "GPT": 32}


def text():
    """Windows of 64 bytes of the help that Python brings, and what follows each byte."""
    import pydoc_data.topics

    words = "\n".join(pydoc_data.topics.topics.values()).encode("ascii", "replace")
    found = torch.tensor(list(words))
    rows = found[: len(found) // 65 * 65].view(-1, 65)
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]
    return rows[:, :-1], rows[:, 1:]


def data_of(name, folder):
    """Training and validation examples."""
    if name == "GPT":
        x, y = text()
        count = min(SIZES[name], len(x) - 512)
        return x[:count], y[:count], x[count : count + 512], y[count : count + 512]
    found = load("cifar10" if name == "ResNet-20" else "mnist", folder)
    return found.train_x[: SIZES[name]], found.train_y[: SIZES[name]], found.validation_x, found.validation_y


def build(name):
    """The network, with random weights."""
    if name == "GPT":
        return GPT(width=96, depth=3)
    return {"LeNet-5": LeNet5, "MLP": MLP, "ResNet-20": lambda: ResNet(3, (16, 32, 64), blocks=3)}[name]()


class Run:
    """One training, an epoch at a time."""

    def __init__(self, name, variant, data, target, epochs, seed):
        torch.manual_seed(seed)
        self.x, self.y, self.vx, self.vy = data
        self.batch = BATCH[name]
        self.model = build(name)
        total = epochs * -(-len(self.x) // self.batch)
        self.gates = self.solver = self.compaction = None
        if variant != "dense":
            self.gates = lzero.attach_gates(self.model, self.x[:2])
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        if variant == "compacted":
            self.compaction = lzero.Compaction(self.model, self.optimizer)
        if variant.startswith(LIMIT):
            self.compaction = lzero.Compaction(self.model, self.optimizer, below=float(variant.removeprefix(LIMIT)))
        if self.gates is not None:
            asked = lzero.Constraint(target, "macs")
            self.solver = lzero.Solver(self.gates, constraints=[asked], total_steps=total, compaction=self.compaction)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, total)
        self.order = torch.Generator().manual_seed(seed)

    def epoch(self):
        """Its seconds, and loss and error on validation data."""
        self.model.train()
        started = time.perf_counter()
        for x, y in batches(self.x, self.y, self.batch, self.order):
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(x).flatten(0, -2), y.flatten()).backward()
            self.optimizer.step()
            if self.solver is not None:
                self.solver.step()
            self.schedule.step()
        seconds = time.perf_counter() - started
        self.model.eval()
        with torch.no_grad():
            parts = [
                (self.model(x).flatten(0, -2), y.flatten())
                for x, y in zip(self.vx.split(500), self.vy.split(500), strict=True)
            ]
            scores, y = (torch.cat(part) for part in zip(*parts, strict=True))
        error = 100 * float((scores.argmax(1) != y).float().mean())
        return seconds, float(F.cross_entropy(scores, y)), error

    def macs(self):
        """The share of the MACs that the training model has now."""
        if self.gates is None:
            return 1.0
        return float(Cost(self.gates, "macs").fraction(torch.ones(len(self.gates))))


def trained(name, target, epochs, seed, data, variants):
    """One row an epoch and variant."""
    runs = {variant: Run(name, variant, data, target, epochs, seed) for variant in variants}
    for epoch in range(epochs):
        first = epoch % len(variants)
        turn = variants[first:] + variants[:first]
        for variant in turn:
            seconds, loss, error = runs[variant].epoch()
            row = (name, target, epochs, seed, variant, epoch, seconds, loss, error, runs[variant].macs(), machine())
            yield dict(zip(COLUMNS, row, strict=True))
    for variant in variants[1:]:
        deployed = lzero.purge(runs[variant].model).certificate.deployed["macs"]
        removed = {} if runs[variant].compaction is None else runs[variant].compaction.removed
        print(f"{name} {seed} {variant}: shipped {deployed:.2%} of the MACs, left after steps {removed}")


def held(path):
    """How many rows a network, target, number of epochs and seed has."""
    found = {}
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                key = row["network"], float(row["target"]), int(row["epochs"]), int(row["seed"])
                found[key] = found.get(key, 0) + 1
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", choices=[*EPOCHS, []], metavar="NETWORK")
    parser.add_argument("--data", help="the folder with MNIST and CIFAR-10")
    parser.add_argument("--target", type=float, help="share of the MACs; GPT's head is not gated, and 0.15 of them")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "whole.csv")
    parser.add_argument("--below", nargs="*", default=[], help="other limits of P(z != 0), each a training more")
    parser.add_argument("--page", action="store_true", help="make the page and the figure of what there is")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    for seed in range(0 if asked.page else asked.seeds):
        for name in asked.networks:
            epochs = asked.epochs or EPOCHS[name]
            target = asked.target or TARGETS[name]
            variants = (*VARIANTS, *(f"{LIMIT}{limit}" for limit in asked.below))
            if held(asked.csv).get((name, target, epochs, seed), 0) >= epochs * len(variants):
                continue
            new = not asked.csv.exists()
            with asked.csv.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                if new:
                    writer.writeheader()
                for row in trained(name, target, epochs, seed, data_of(name, asked.data), variants):
                    writer.writerow(row)
                    file.flush()
    write_page(asked.csv)


if __name__ == "__main__":
    sys.exit(main())
