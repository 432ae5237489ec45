"""The measured part of README.md, generated from the CSV files in this folder.

python figures/readme.py            # rewrite it
python figures/readme.py --check    # only say whether it is up to date
"""

import argparse
import sys
from pathlib import Path
from statistics import mean, stdev

from lzero.recorder import Recorder, replacing

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
BEGIN, END = "<!-- measured: figures/readme.py -->", "<!-- end of measured -->"
# network, shipped share of the parameters at most, published by arXiv 2208.04425 after 200 epochs: error, spread
PUBLISHED = {"mlp": ("784-300-100", 0.266, 0.0177, 0.0008), "lenet5": ("20-50-800-500", 0.077, 0.0101, 0.0005)}


def measured() -> str:
    """The Markdown between the two marks."""
    return "\n\n".join([BEGIN, comparison(), digits(), mnist(), robustness(), END])


def comparison() -> str:
    """Three ways to one density."""
    lines = [
        "**One training instead of many** (digits, MLP 64-300-100-10; `make demo`; two-core x86 machine):",
        "",
        "| method | λ | trainings | asked | shipped | test error |",
        "|---|---|---|---|---|---|",
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
    exact = [row for row in rows if row["slack"] >= 0 and row["exhausted"]]
    whole = [row for row in rows if row["scope"] == "model"]
    near = max(abs(row["trained"] - row["asked"]) for row in whole)
    return (
        "**Asked is shipped** (`python figures/digits.py`): six targets from 10 % to 80 %, three seeds, parameters and "
        f"MACs, model-wide and layer-wise: {len(exact)} of {len(rows)} trainings ship at or below their target and "
        f"within one unit of it. Before settling, the model-wide ones lie within {100 * near:.1f} points of it.\n\n"
        "![Asked against shipped density](figures/control.png)"
    )


def mnist() -> str:
    """Error at a budget."""
    lines = [
        "**Error at a budget** (MNIST, 55,000 training images, test error of the purged model after the last epoch, "
        "mean ± standard deviation over seeds; `python figures/mnist.py`):",
        "",
        "| network | shipped parameters | epochs | seeds | test error | published, 200 epochs |",
        "|---|---|---|---|---|---|",
    ]
    rows = Recorder.from_csv(HERE / "mnist.csv").rows
    for model, (network, _, error, spread) in PUBLISHED.items():
        chosen = [row for row in rows if row["model"] == model]
        errors = [row["error"] for row in chosen]
        epochs = round(chosen[0]["steps"] * chosen[0]["batch_size"] / 55_000)
        lines.append(
            f"| {model} {network} | {max(row['shipped'] for row in chosen):.2%} | {epochs} | {len(chosen)} "
            f"| {mean(errors):.2%} ± {stdev(errors):.2%} | {error:.2%} ± {spread:.2%} |"
        )
    return "\n".join(lines)


def robustness() -> str:
    """One set of defaults."""
    rows = Recorder.from_csv(HERE / "robustness.csv").rows
    within = [row for row in rows if "trained" in row and abs(row["trained"] - row["asked"]) <= 0.01]
    exact = [row for row in rows if "slack" in row and row["slack"] >= 0 and row["exhausted"]]
    return (
        "**Nobody tunes the solver** (`python figures/robustness.py`; digits and MNIST, targets from 5 % to 80 %, "
        "parameters and MACs, 700 to 20,000 steps, loss times 0.05, 1 and 20, Adam and SGD with its rate in the units "
        "of the loss, batches of 32 to 512; every target at a middle setting, and 40 settings drawn once from the full "
        "product): "
        f"{len(within)} of {len(rows)} trainings end within one point of the target *before* settling, and "
        f"{len(exact)} of {len(rows)} ship at or below it, within one unit. All rows are in "
        "[figures/robustness.csv](figures/robustness.csv); what each default rests on in "
        "[figures/defaults.md](figures/defaults.md).\n\n"
        "![Deployed minus asked density before settling](figures/robustness.png)"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    text = README.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    new = before + measured() + after
    if options.check:
        return 0 if new == text else 1
    with replacing(README) as temporary:
        temporary.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
