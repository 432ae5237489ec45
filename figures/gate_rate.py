"""The rate of the gates' Adam by the length of the training: writes gate_rate.csv, gate_rate.md and gate_rate.png.

    python figures/gate_rate.py --data-dir <folder with MNIST's IDX files>

The default is ``100 / total_steps``, from 0.02 to 0.2; beside it a quarter of it, four times it, and 0.02. A cell
shows the deployed density before settling and the validation error of the purged model, in per cent; choices were made
on these, never on test data. Further rows have the default alone, over batches of 32 and 512 and losses times 1e-3 to
1e3.
"""

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from script import HERE, head, line, outcome, parser

from lzero.plots import save
from lzero.solver.gate_optimizer import default_gate_lr
from lzero_lab.files import write_text
from lzero_lab.studies.cell import Cell
from lzero_lab.studies.cells import run_cells
from lzero_lab.training.recipe import Recipe

RATES = {
    "0.02": lambda steps: 0.02,
    "a quarter": lambda steps: default_gate_lr(steps) / 4,
    "default": lambda steps: None,
    "four times": lambda steps: default_gate_lr(steps) * 4,
}
LENGTHS = {"digits": (60, 80, 130, 215, 430, 860, 2_000, 5_000), "mnist": (100, 200, 400, 1_000, 3_000)}
TARGETS = (0.1, 0.3)
DIGITS = {"granularity": "unit", "lr": 1e-3, "batch_size": 32}
MNIST = {"granularity": "input", "batch_size": 128}


def main() -> None:
    options = parser(__doc__).parse_args()

    def cell(data, steps, target, rate, **changes):
        recipe = Recipe(
            **{**(DIGITS if data == "digits" else MNIST), **changes}, steps=steps, target=target, gate_lr=rate
        )
        return Cell(data, recipe, options.data_dir)

    grid = {
        (data, steps, target, name): cell(data, steps, target, rate(steps))
        for data, lengths in LENGTHS.items()
        for steps in lengths
        for target in TARGETS
        for name, rate in RATES.items()
    }
    loops = {
        (data, steps, f"batch {batch}, loss x {scale:g}"): cell(
            data, steps, 0.1, None, batch_size=batch, loss_scale=scale
        )
        for data, steps in (("digits", 130), ("digits", 860), ("mnist", 400))
        for batch in (32, 512)
        for scale in (1e-3, 1.0, 1e3)
    }
    cells = [*grid.values(), *loops.values()]
    rows = {row["cell"]: row for row in run_cells(cells, HERE / "gate_rate.csv", workers=options.workers)}
    lines = [
        "# The rate of the gates",
        "",
        "Made by `python figures/gate_rate.py`. Each cell: deployed density before settling / validation error of the "
        "purged model, in per cent; one seed.",
        "",
        *head(["data, steps, target", *RATES]),
    ]
    for data, lengths in LENGTHS.items():
        for steps in lengths:
            for target in TARGETS:
                found = [outcome(rows[grid[data, steps, target, name].key]) for name in RATES]
                lines.append(line([f"{data}, {steps:,}, {target:.0%}", *found]))
    lines += ["", "The default in other loops, at 10 %:", "", "| data, steps | loop | |", "|---|---|---|"]
    for (data, steps, words), made in loops.items():
        lines.append(line([f"{data}, {steps:,}", words, outcome(rows[made.key])]))
    write_text(HERE / "gate_rate.md", "\n".join(lines) + "\n")
    plot({key: rows[made.key] for key, made in grid.items()})


def plot(rows) -> None:
    """Validation error and distance to the target against the length, a line a rate."""
    figure = Figure(figsize=(10, 6), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2, sharex="col")
    colours = dict(zip(RATES, ("#999999", "#56B4E9", "#D55E00", "#009E73"), strict=True))
    for column, data in enumerate(LENGTHS):
        for name, colour in colours.items():
            steps = LENGTHS[data]
            picked = [rows[data, length, 0.1, name] for length in steps]
            axes[0, column].plot(steps, [100 * r["validation_error"] for r in picked], "o-", color=colour, label=name)
            axes[1, column].plot(steps, [100 * (r["before_settling"] - 0.1) for r in picked], "o-", color=colour)
        axes[0, column].set(xscale="log", yscale="log", title=f"{data}, 10 % of the parameters")
        axes[0, column].set_yticks(ticks := [2, 5, 10, 20, 50], [str(tick) for tick in ticks])
        axes[0, column].minorticks_off()
        axes[1, column].set(ylim=(-10, 10), xlabel="optimizer steps of the training")
        axes[1, column].axhspan(-1, 1, color="0.9")
    axes[0, 0].set_ylabel("validation error, %")
    axes[1, 0].set_ylabel("before settling - asked\n(percentage points)")
    axes[0, 1].legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, title="rate of the gates")
    save(figure, HERE / "gate_rate.png")


if __name__ == "__main__":
    main()
