"""What it takes to land within one point of a target on MNIST: mnist_cost.csv and .md, trainings and seconds.

    python figures/mnist_cost.py --data-dir <folder with MNIST's IDX files>

One constrained training against bisection on the penalty and against its grid (`lzero compare` for either network and
two targets). The trainings are short (`EPOCHS`): every way has the same, and the question is how many of them it needs.
Trainings that `--runs` holds are skipped.
"""

from pathlib import Path

from script import HERE, parser

from lzero.recorder import Recorder
from lzero_lab.datasets import load
from lzero_lab.files import write_text
from lzero_lab.runs.compare import ROWS, compare
from lzero_lab.training.recipe import Recipe
from lzero_lab.training.runtime import configure_cpu

EPOCHS = {"mlp": 6, "lenet5": 2}
TARGETS = {"mlp": (0.266, 0.076), "lenet5": (0.077,)}
WAYS = ("constrained", "bisection", "grid search")


def main() -> None:
    accepted = parser(__doc__, workers=False)
    accepted.add_argument("--runs", type=Path, default=HERE.parent / "runs" / "mnist-cost")
    options = accepted.parse_args()
    configure_cpu()
    data = load("mnist", options.data_dir)
    rows = Recorder()
    for model, targets in TARGETS.items():
        for target in targets:
            recipe = Recipe(model, target=target, granularity="input", epochs=EPOCHS[model])
            folder = options.runs / f"{model}-{target:g}"
            compare(recipe, data, folder)
            for row in Recorder.from_csv(folder / ROWS):
                if row["method"] in WAYS:
                    rows.append(model=model, epochs=recipe.epochs, **{k: v for k, v in row.items() if k != "folder"})
            rows.to_csv(HERE / "mnist_cost.csv")
            write_text(HERE / "mnist_cost.md", table(rows.rows))
    print(table(rows.rows))


def table(rows: list[dict]) -> str:
    lines = [
        "# MNIST: what a target costs",
        "",
        "| network | epochs a training | way | asked | trainings | seconds | shipped | within one point |",
        "|---|---:|---|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        within = abs(row["shipped"] - row["asked"]) <= 0.01
        lines.append(
            f"| {row['model']} | {row['epochs']} | {row['method']} | {row['asked']:.1%} | {row['trainings']} "
            f"| {row['seconds']:.0f} | {row['shipped']:.2%} | {'yes' if within else 'no'} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
