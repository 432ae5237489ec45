"""Does anybody have to tune the solver? One set of defaults over many settings; writes robustness.csv and .png.

    python figures/robustness.py --data-dir <folder with MNIST's IDX files>

The question is how near the deployed density is to the target at the end of training, *before* settling makes it exact.
First every target and measure at a middle setting; then a sample, drawn once, of the full product of targets, measures,
lengths, scales of the loss, optimizers of the weights and batch sizes; then another of short trainings, with scales of
the loss from 1e-3 to 1e3. Cells that robustness.csv holds are skipped.
"""

import itertools
import random

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from script import HERE, parser

from lzero.plots import save
from lzero_lab.studies.cell import Cell
from lzero_lab.studies.cells import run_cells
from lzero_lab.training.recipe import Recipe

DATA = ("digits", "mnist")
TARGETS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.8)
MEASURES = ("params", "macs")
STEPS = (700, 3_000, 20_000)
SCALES = (0.05, 1.0, 20.0)
OPTIMIZERS = ("adam", "sgd")
BATCHES = (32, 128, 512)
SAMPLE = 40
SHORT_STEPS, SHORT_SCALES, SHORT_SAMPLE = (100, 200, 350, 500), (1e-3, 1.0, 1e3), 32


def cell(data_dir, data, target, measure, steps=3_000, scale=1.0, optimizer="adam", batch=128):
    """One training; SGD's learning rate is in the units of the loss, as its user would have set it."""
    lr = 7e-4 if optimizer == "adam" else 0.05 / scale
    recipe = Recipe(
        target=target, measure=measure, granularity="input", steps=steps, loss_scale=scale,
        optimizer=optimizer, lr=lr, batch_size=batch,
    )  # fmt: skip
    return Cell(data, recipe, data_dir)


def main() -> None:
    options = parser(__doc__).parse_args()
    grid = [cell(options.data_dir, *point) for point in itertools.product(DATA, TARGETS, MEASURES)]
    product = list(itertools.product(DATA, TARGETS, MEASURES, STEPS, SCALES, OPTIMIZERS, BATCHES))
    grid += [cell(options.data_dir, *point) for point in random.Random(0).sample(product, SAMPLE)]
    product = list(itertools.product(DATA, TARGETS, MEASURES, SHORT_STEPS, SHORT_SCALES, OPTIMIZERS, BATCHES))
    grid += [cell(options.data_dir, *point) for point in random.Random(1).sample(product, SHORT_SAMPLE)]
    rows = run_cells(grid, HERE / "robustness.csv", workers=options.workers, progress=report).rows
    within = [row for row in rows if "before_settling" in row and abs(row["before_settling"] - row["asked"]) <= 0.01]
    for words, least, most in (("700 steps and more", 700, 10**9), ("100 to 500 steps", 0, 699)):
        some = [row for row in rows if least <= row["steps"] <= most]
        near = sum(row in within for row in some)
        worst = max(
            (abs(row["before_settling"] - row["asked"]) for row in some if "before_settling" in row), default=0.0
        )
        print(f"{words}: {near} of {len(some)} within one point of the target before settling, all within {worst:.2%}")
    for row in rows:
        if row not in within:
            report(row)
    plot(rows)


def report(row) -> None:
    names = (
        "data",
        "asked",
        "measure",
        "steps",
        "loss_scale",
        "optimizer",
        "batch_size",
        "before_settling",
        "shipped",
        "problem",
    )
    print(" ".join(f"{name}={row[name]}" for name in names if name in row))


def plot(rows) -> None:
    """Deployed minus asked density, in points, for every cell, against the number of steps."""
    figure = Figure(figsize=(9, 4), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    ax.axhspan(-1, 1, color="0.9", label="within one point")
    ax.axhline(0, color="0.5", linewidth=0.8)
    rng = random.Random(0)
    for optimizer, name, marker, colour in (("adam", "Adam", "o", "#0072B2"), ("sgd", "SGD", "^", "#D55E00")):
        chosen = [row for row in rows if row["optimizer"] == optimizer and "before_settling" in row]
        x = [row["steps"] * rng.uniform(0.9, 1.1) for row in chosen]
        y = [100 * (row["before_settling"] - row["asked"]) for row in chosen]
        ax.plot(x, y, marker, color=colour, alpha=0.7, label=f"weights by {name}", linestyle="none")
    ax.set_xscale("log")
    ax.set_xlabel("optimizer steps of the training")
    ax.set_ylabel("deployed before settling - asked\n(percentage points)")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    save(figure, HERE / "robustness.png")


if __name__ == "__main__":
    main()
