"""Does a network with BatchNorm that is cut at another budget need new statistics? front_batchnorm.csv and .md.

    python figures/front_batchnorm.py

A small residual network on digits, trained at half and at a fifth of its MACs and cut at eight budgets; the validation
error as it is, and after `torch.optim.swa_utils.update_bn` on the training data.
"""

import statistics

import torch
from script import HERE, head, line, parser
from torch.nn import functional as F
from torch.optim.swa_utils import update_bn

import lzero
from lzero.recorder import Recorder
from lzero_lab.datasets import load
from lzero_lab.datasets.dataset import batches
from lzero_lab.files import write_text
from lzero_lab.models import ResNet
from lzero_lab.training.evaluation import error
from lzero_lab.training.runtime import configure_cpu

TARGETS = (0.8, 0.65, 0.5, 0.35, 0.25, 0.2, 0.15, 0.1)
TRAINED, SEEDS, EPOCHS, BATCH = (0.5, 0.2), (0, 1, 2), 60, 64


def trained(data, target, seed):
    torch.manual_seed(seed)
    model = ResNet(1, widths=(16, 32))
    gates = lzero.attach_gates(model, data.train_x[:4])
    steps = EPOCHS * -(-len(data.train_x) // BATCH)
    solver = lzero.Solver(gates, target, measure="macs", total_steps=steps)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    order = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(EPOCHS):
        for x, y in batches(data.train_x, data.train_y, BATCH, order):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            solver.step()
            optimizer.step()
            schedule.step()
    return model


def cut(model, data):
    """One row a budget: as it is, and with new statistics."""
    fresh = []

    def evaluate(small):
        before = error(small, data.validation_x, data.validation_y)
        update_bn(data.train_x.split(BATCH), small)
        fresh.append(error(small, data.validation_x, data.validation_y))
        return before

    rows = lzero.front(model, TARGETS, evaluate, measure="macs").rows
    return [
        {"asked": row["asked"], "shipped": row["shipped"], "error": row["evaluation"], "fresh_error": after}
        for row, after in zip(rows, fresh, strict=True)
    ]


def table(rows):
    """Mean validation errors, as they are / with new statistics."""
    lines = [
        "# A network with BatchNorm, cut at other budgets",
        "",
        f"Made by `python figures/front_batchnorm.py`: a small residual network on digits, {EPOCHS} epochs. Validation "
        "error in per cent of the purged model by MACs asked for, as it is / after `update_bn` on the training data; "
        f"mean of {len({row['seed'] for row in rows})} seeds.",
        "",
        *head(["trained at", *(f"{target:.0%}" for target in TARGETS)]),
    ]
    for trained_for in TRAINED:
        cells = []
        for target in TARGETS:
            mine = [row for row in rows if (row["trained_for"], row["asked"]) == (trained_for, target)]
            pair = (100 * statistics.fmean(row[name] for row in mine) for name in ("error", "fresh_error"))
            cells.append(" / ".join(f"{value:.1f}" for value in pair))
        lines.append(line([f"{trained_for:.0%}", *cells]))
    return "\n".join(lines) + "\n"


def main() -> None:
    parser(__doc__, data_dir=False, workers=False).parse_args()
    configure_cpu(threads=1)
    data, path = load("digits"), HERE / "front_batchnorm.csv"
    found = Recorder.from_csv(path) if path.exists() else Recorder()
    done = {(row["seed"], row["trained_for"]) for row in found}
    for seed in SEEDS:
        for target in TRAINED:
            if (seed, target) in done:
                continue
            for row in cut(trained(data, target, seed), data):
                found.append(seed=seed, trained_for=target, **row)
            found.to_csv(path)
            print(seed, target, flush=True)
    write_text(HERE / "front_batchnorm.md", table(found.rows))


if __name__ == "__main__":
    main()
