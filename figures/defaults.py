"""The evidence for the defaults: writes defaults.csv and defaults.md, a column a setting.

    python figures/defaults.py --data-dir <folder with MNIST's IDX files>

One thing is changed at a time, from the defaults: open probability 0.97, rates of the gates and of the multipliers by
the length of the training, the budget held from both sides. A cell shows the deployed density before settling and the
validation error of the purged model, in per cent; choices were made on these, never on test data.
"""

import argparse
import os
from pathlib import Path

from lzero.recorder import replacing
from lzero_lab.cells import Cell, run_cells
from lzero_lab.recipe import Recipe

HERE = Path(__file__).parent
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=os.environ.get("LZERO_DATA", "data"))
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    cells = {
        (setting, problem): Cell(data, Recipe(**{**recipe, **change}), None if data == "digits" else options.data_dir)
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
        "| setting | " + " | ".join(PROBLEMS) + " |",
        "|---" * (len(PROBLEMS) + 1) + "|",
    ]
    for setting in SETTINGS:
        texts = [cell_text(found[cells[setting, problem].key]) for problem in PROBLEMS]
        lines.append(f"| {setting} | " + " | ".join(texts) + " |")
    with replacing(HERE / "defaults.md") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def cell_text(row: dict) -> str:
    """``deployed / error`` of one training."""
    if "trained" not in row:
        return "failed"
    return f"{100 * row['trained']:.1f} / {100 * row['validation_error']:.2f}"


if __name__ == "__main__":
    main()
