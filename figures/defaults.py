"""The evidence for the defaults: writes defaults.csv and defaults.md, a column a setting.

    python figures/defaults.py --data-dir <folder with MNIST's IDX files>

One thing is changed at a time, from the defaults: open probability 0.97, rates of the gates and of the multipliers by
the length of the training, the budget held from both sides. A cell shows the deployed density before settling and the
validation error of the purged model, in per cent; choices were made on these, never on test data.
"""

from script import HERE, head, line, outcome, parser

from lzero_lab.files import write_text
from lzero_lab.studies.cell import Cell
from lzero_lab.studies.cells import run_cells
from lzero_lab.training.recipe import Recipe

SETTINGS = {
    "defaults": {},
    "open 0.7": {"open_probability": 0.7},
    "gate rate 5e-3": {"gate_lr": 5e-3},
    "gate rate 0.02": {"gate_lr": 2e-2},
    "dual rate 0.01": {"solver": (("dual_lr", 0.01),)},
    "one-sided": {"solver": (("two_sided", False),)},
    "not annealed": {"solver": (("schedule", "fixed"),)},
    "not scaled": {"solver": (("scale", False),)},
    "no restarts": {"solver": (("restarts", False),)},
    "nuPI": {"solver": (("dual", "nupi"), ("dual_options", {"Kp": 10.0, "Ki": 1.0}))},
}
SGD = {"optimizer": "sgd", "lr": 0.05}
PROBLEMS = {
    "digits, 5 %, 700 steps": ("digits", {"target": 0.05, "steps": 700, "batch_size": 32}),
    "digits, 80 %, 700 steps, SGD": ("digits", {"target": 0.8, "steps": 700, "granularity": "input", **SGD}),
    "digits, 10 %, 3,000 steps": ("digits", {"target": 0.1, "steps": 3_000}),
    "MNIST, 10 %, 700 steps": ("mnist", {"target": 0.1, "steps": 700, "granularity": "input"}),
    "MNIST, 80 %, 700 steps": ("mnist", {"target": 0.8, "steps": 700, "granularity": "input"}),
}


def main() -> None:
    options = parser(__doc__).parse_args()
    cells = {
        (setting, problem): Cell(data, Recipe(**{**recipe, **change}), options.data_dir)
        for setting, change in SETTINGS.items()
        for problem, (data, recipe) in PROBLEMS.items()
    }
    rows = run_cells(list(cells.values()), HERE / "defaults.csv", workers=options.workers).rows
    found = {row["cell"]: row for row in rows}
    lines = [
        "# What the defaults rest on",
        "",
        "Made by `python figures/defaults.py`. Each cell: deployed density before settling / validation error of the "
        "purged model, in per cent; one seed. The first row is the defaults, every other one changes one thing.",
        "",
        *head(["setting", *PROBLEMS]),
    ]
    for setting in SETTINGS:
        lines.append(line([setting, *(outcome(found[cells[setting, problem].key]) for problem in PROBLEMS)]))
    write_text(HERE / "defaults.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
