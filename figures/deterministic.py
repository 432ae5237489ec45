"""Gates that nothing is drawn for, beside hard concrete: writes deterministic.csv and deterministic.md.

    python figures/deterministic.py

Digits, the MLP and LeNet-5, 129 to 1,290 optimizer steps on batches of 32, to 10 and 30 % of the parameters, three
seeds. Deterministic gates move at the default rate and at a quarter of it, and count as by default or as published. A
cell shows the deployed density before settling, of three seeds the one that is furthest from the target, and the mean
validation error of the purged model, in per cent; choices were made on these, never on test data.
"""

import statistics

from script import HERE, head, line, parser

from lzero.recorder import Row
from lzero.solver.gate_optimizer import default_gate_lr
from lzero_lab.files import write_text
from lzero_lab.studies.cell import Cell
from lzero_lab.studies.cells import run_cells
from lzero_lab.training.recipe import Recipe

WAYS = {
    "hard concrete": ("hard_concrete", 1.0),
    "deterministic": ("deterministic", 1.0),
    "a quarter of the rate": ("deterministic", 0.25),
    "the same, logistic count": ("deterministic_logistic", 0.25),
}
MODELS, STEPS, TARGETS, SEEDS = ("mlp", "lenet5"), (129, 430, 1290), (0.1, 0.3), range(3)


def cell(way: str, model: str, steps: int, target: float, seed: int) -> Cell:
    """One training; rates other than the default are told."""
    estimator, times = WAYS[way]
    rate = None if times == 1.0 else times * default_gate_lr(steps)
    recipe = Recipe(
        model=model, estimator=estimator, steps=steps, target=target, seed=seed, gate_lr=rate, lr=1e-3, batch_size=32
    )
    return Cell("digits", recipe)


def grid() -> dict[tuple[str, int, float, str], list[Cell]]:
    """The trainings of every place of the table."""
    return {
        (model, steps, target, way): [cell(way, model, steps, target, seed) for seed in SEEDS]
        for model in MODELS
        for steps in STEPS
        for target in TARGETS
        for way in WAYS
    }


def outcome(rows: list[Row]) -> str:
    """``before settling / error`` of some seeds."""
    far = max(
        (float(row["before_settling"]) for row in rows), key=lambda trained: abs(trained - float(rows[0]["asked"]))
    )
    return f"{100 * far:.1f} / {100 * statistics.mean(float(row['validation_error']) for row in rows):.2f}"


def table(rows: list[Row]) -> str:
    """The page, from the rows of the CSV."""
    found = {row["cell"]: row for row in rows}
    lines = [
        "# Gates without noise",
        "",
        "Made by `python figures/deterministic.py`; all rows are in [deterministic.csv](deterministic.csv). Each cell: "
        "deployed density before settling, of three seeds the one furthest from the target / mean validation error of "
        "the purged model, in per cent.",
        "",
        *head(["digits, steps, target", *WAYS]),
    ]
    places = grid()
    for model in MODELS:
        for steps in STEPS:
            for target in TARGETS:
                cells = [[found[one.key] for one in places[model, steps, target, way]] for way in WAYS]
                lines.append(line([f"{model}, {steps:,}, {target:.0%}", *map(outcome, cells)]))
    return "\n".join(lines) + "\n"


def main() -> None:
    options = parser(__doc__, data_dir=False).parse_args()
    cells = [one for place in grid().values() for one in place]
    rows = run_cells(cells, HERE / "deterministic.csv", workers=options.workers).rows
    write_text(HERE / "deterministic.md", table(rows))


if __name__ == "__main__":
    main()
