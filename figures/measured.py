"""docs/measured.md, generated from the CSV files in this folder.

python figures/measured.py            # write it
python figures/measured.py --check    # only say whether it is up to date
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import mean, stdev

from script import HERE, head, parser

from lzero.plots.table import grouped
from lzero.recorder import Recorder, Row
from lzero_lab.files import write_text
from lzero_lab.studies.report import budgets, finished, published
from lzero_lab.studies.study import Study

PAGE = HERE.parent / "docs" / "measured.md"
HEAD = """# What was measured

Written by `python figures/measured.py` from the CSV files beside it, which the commands named here make."""
OURS = "hard concrete, constrained"


def measured() -> str:
    """The page."""
    return "\n\n".join([HEAD, comparison(), digits(), control(), study(), fashion(), robustness()]) + "\n"


def comparison() -> str:
    """Three ways to one density."""
    lines = [
        "## One training instead of many\n\nDigits, MLP 64-300-100-10; `make demo`; two-core x86 machine:",
        "",
        *head(["method", "λ", "trainings", "asked", "shipped", "test error"]),
    ]
    for row in Recorder.from_csv(HERE / "comparison.csv"):
        coefficient = f"{row['coefficient']:.3g}" if "coefficient" in row else "–"
        asked = f"{row['asked']:.1%}" if "asked" in row else "–"
        lines.append(
            f"| {row['method']} | {coefficient} | {row['trainings']} | {asked} | {row['shipped']:.2%} "
            f"| {row['error']:.2%} |"
        )
    return "\n".join(lines)


def digits() -> str:
    """Asked and shipped."""
    rows = Recorder.from_csv(HERE / "digits.csv").rows
    exact = [row for row in rows if row["slack"] >= 0 and row["within_one_unit"]]
    whole = [row for row in rows if row["scope"] == "model"]
    near = max(abs(row["before_settling"] - row["asked"]) for row in whole)
    return (
        "## Asked is shipped\n\nDigits (`python figures/digits.py`): six targets from 10 % to 80 %, three seeds, "
        f"parameters and MACs, model-wide and layer-wise: {len(exact)} of {len(rows)} trainings ship at or below their "
        "target and within one unit of it. Before settling, the model-wide ones lie within "
        f"{100 * near:.1f} points of it.\n\n"
        "![Asked against shipped density](../figures/control.png)"
    )


def study() -> str:
    """Error at a budget, beside the published rows."""
    rows = finished(HERE / "study", Study.read("mnist"))
    lines = [
        "## Error at a budget\n\nMNIST, 55,000 training images, test error of the purged model after the last epoch, "
        "mean ± standard deviation over seeds; `make study` on two x86 cores; hard-concrete gates under the "
        "constraint, with the library's defaults for them; published: arXiv 2208.04425, last of 200 epochs, five "
        "seeds:",
        "",
        "| network, budget | shipped params | shipped MACs | epochs | seeds | test error | published |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for budget in budgets(rows):
        chosen = ours(rows, budget)
        if not chosen:
            continue
        theirs = [row for row in published([budget], "mnist") if row["source"] == "arXiv 2208.04425"]
        reported = ", ".join(f"{row['error']:.2%} ± {row['spread']:.2%}" for row in theirs)
        lines.append(
            f"| {budget} | {max(row['shipped_params'] for row in chosen):.2%} "
            f"| {max(row['shipped_macs'] for row in chosen):.2%} | {chosen[0]['epochs']} | {len(chosen)} "
            f"| {spread(chosen)} | {reported} |"
        )
    others = len({row["label"] for row in rows})
    return "\n".join(
        [
            *lines,
            "",
            f"All {others} methods of the study at equal shipped size, ARM, structured Bayesian pruning, magnitude "
            "pruning and dense networks among them, with the published rows: "
            "[figures/study/table.md](../figures/study/table.md).",
            "",
            "![Test error of every method at every budget of the MLP](../figures/study/methods-mlp.png)",
            "",
            "![The same of LeNet-5](../figures/study/methods-lenet5.png)",
        ]
    )


def fashion() -> str:
    """The same recipes on other data."""
    rows = finished(HERE / "study-fashion", replace(Study.read("mnist"), data="fashion-mnist"))
    names = budgets(rows)
    lines = [f"| Fashion-MNIST | {' | '.join(names)} |", "|---" + "|---:" * len(names) + "|"]
    for label, group in grouped(rows, "label").items():
        cells = grouped(group, "budget")
        lines.append(f"| {label} | {' | '.join(spread(cells[name]) if name in cells else '–' for name in names)} |")
    return (
        "## Other data\n\nThe same recipes on Fashion-MNIST, with nothing changed, test error of the purged model "
        "([figures/study-fashion/table.md](../figures/study-fashion/table.md)):\n\n" + "\n".join(lines)
    )


def ours(rows: Iterable[Row], budget: str) -> list[Row]:
    """The trainings of hard-concrete gates under a constraint at a ``budget``, one a seed."""
    return [row for row in rows if row["budget"] == budget and row["label"] == OURS]


def spread(rows: Sequence[Row]) -> str:
    """Mean and standard deviation of the test errors."""
    errors = [row["error"] for row in rows]
    return f"{mean(errors):.2%}" + (f" ± {stdev(errors):.2%}" if len(errors) > 1 else "")


def control() -> str:
    """Asked and shipped on MNIST; what a target costs."""
    rows = Recorder.from_csv(HERE / "mnist_control.csv").rows
    asked = [row for row in rows if row["method"] == "constrained" and "shipped" in row]
    exact = [row for row in asked if row["slack"] >= 0 and row["within_one_unit"]]
    near = max(abs(row["before_settling"] - row["asked"]) for row in asked if row["scope"] == "model")
    return (
        "MNIST, MLP and LeNet-5, five targets, model-wide and layer-wise (`python "
        f"figures/mnist_control.py`): {len(exact)} of {len(asked)} at or below their target and within one unit of it, "
        f"the model-wide ones within {100 * near:.1f} points of it before settling; beside the official code's numbers "
        "and what a grid of λ ships, in [figures/mnist_control.md](../figures/mnist_control.md). What it costs to land "
        "within a point of a target by a constraint, by bisection and by a grid: "
        "[figures/mnist_cost.md](../figures/mnist_cost.md)."
    )


def robustness() -> str:
    """One set of defaults."""
    rows = Recorder.from_csv(HERE / "robustness.csv").rows
    exact = [row for row in rows if "slack" in row and row["slack"] >= 0 and row["within_one_unit"]]
    long, short = ([row for row in rows if (row["steps"] >= 700) == kind] for kind in (True, False))
    return (
        "## Nobody tunes the solver\n\nOne set of defaults (`python figures/robustness.py`; digits and MNIST, targets "
        "from 5 % to 80 %, "
        "parameters and MACs, 700 to 20,000 steps, loss times 0.05, 1 and 20, Adam and SGD with its rate in the units "
        "of the loss, batches of 32 to 512; every target at a middle setting, and 40 settings drawn once from the full "
        f"product): {near(long)}. Of short trainings (100 to 500 steps, loss times 1e-3 to 1e3) {near(short)}. "
        f"{len(exact)} of all {len(rows)} ship at or below their target, within one unit. All rows are "
        "in [figures/robustness.csv](../figures/robustness.csv); what each default rests on in "
        "[figures/defaults.md](../figures/defaults.md), [figures/gate_rate.md](../figures/gate_rate.md) and "
        "[figures/settling.md](../figures/settling.md).\n\n"
        "![Deployed minus asked density before settling](../figures/robustness.png)"
    )


def near(rows: Sequence[Row]) -> str:
    """How many trainings end within a point of their target, and how far the others are."""
    away = [abs(row["before_settling"] - row["asked"]) for row in rows if "before_settling" in row]
    within = sum(distance <= 0.01 for distance in away)
    worst = f"all within {100 * max(away):.1f}"
    return f"{within} of {len(rows)} end within one point of the target *before* settling, {worst}"


def main() -> int:
    accepted = parser(__doc__, data_dir=False, workers=False)
    accepted.add_argument("--check", action="store_true")
    if accepted.parse_args().check:
        return 0 if PAGE.read_text(encoding="utf-8") == measured() else 1
    write_text(PAGE, measured())
    return 0


if __name__ == "__main__":
    sys.exit(main())
