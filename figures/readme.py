"""The measured part of README.md, generated from the CSV files of figures/, benchmarks/ and scoreboard/.

python figures/readme.py            # rewrite it
python figures/readme.py --check    # only say whether it is up to date
"""

import csv
import sys
from collections import Counter
from statistics import mean

from measured import ours, spread
from script import HERE, parser

from lzero.recorder import Recorder
from lzero_lab.files import write_text
from lzero_lab.studies.report import budgets, finished, published
from lzero_lab.studies.study import Study

ROOT = HERE.parent
README = ROOT / "README.md"
BEGIN, END = "<!-- measured: figures/readme.py -->", "<!-- end of measured -->"


def measured() -> str:
    """The Markdown between the two marks: a line a claim, with its number and the command that makes it."""
    claims = [exact(), one_training(), any_model(), untuned(), accurate(), cheaper(), latency()]
    return "\n".join([BEGIN, "", *(f"- {claim}" for claim in claims), "", END])


def exact() -> str:
    rows = [*Recorder.from_csv(HERE / "digits.csv").rows]
    rows += [row for row in Recorder.from_csv(HERE / "mnist_control.csv").rows if row["method"] == "constrained"]
    rows = [row for row in rows if "slack" in row]
    met = sum(row["slack"] >= 0 and bool(row["within_one_unit"]) for row in rows)
    return (
        f"**Asked is shipped**: {met} of {len(rows)} trainings, for parameters or MACs, of the model or of each layer, "
        "ship at or below their target and within one unit of it (`python figures/digits.py`, `python "
        "figures/mnist_control.py`)."
    )


def one_training() -> str:
    rows = {row["method"]: row for row in Recorder.from_csv(HERE / "comparison.csv")}
    ours, theirs = rows["constrained"], rows["bisection"]
    return (
        f"**One training**: asked for {ours['asked']:.0%}, it ships {ours['shipped']:.2%} with a test error of "
        f"{ours['error']:.2%}; bisection on λ takes {theirs['trainings']} trainings to {theirs['shipped']:.2%} "
        "(`make demo`)."
    )


def any_model() -> str:
    found = []
    for name in ("transformers", "timm", "torchvision"):
        with (ROOT / "scoreboard" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            states = Counter(row["state"] for row in csv.DictReader(file))
        built = sum(states.values()) - states["not built"]
        found.append((f"{states['exact']} of {built} of {name}", states["wrong"]))
    wrong = sum(number for _, number in found)
    return (
        f"**Any model, proved**: every unit that can go is found in one forward and proved on random weights. Exact: "
        f"{', '.join(text for text, _ in found)}; wrong: {wrong} "
        "([coverage](docs/coverage.md), `make scoreboard`, `make scoreboard-vision`)."
    )


def untuned() -> str:
    rows = Recorder.from_csv(HERE / "robustness.csv").rows
    long = [row for row in rows if row["steps"] >= 700]
    near = sum(abs(row["before_settling"] - row["asked"]) <= 0.01 for row in long)
    return (
        "**Nobody tunes it**: one set of defaults, losses times 0.05 to 20, SGD and Adam, 700 to 20,000 steps: "
        f"{near} of {len(long)} trainings within a point of their target before anything is settled (`python "
        "figures/robustness.py`)."
    )


def accurate() -> str:
    rows, parts = finished(HERE / "study", Study.read("mnist")), []
    for budget in budgets(rows):
        chosen = ours(rows, budget)
        theirs = [row for row in published([budget], "mnist") if row["source"] == "arXiv 2208.04425"]
        if chosen and theirs:
            parts.append(f"{budget}: {spread(chosen)} ({theirs[0]['error']:.2%} ± {theirs[0]['spread']:.2%})")
    return (
        "**Accurate at its size**, MNIST test error after the last epoch with the library's defaults for the gates, in "
        f"brackets published for the same formulation: {'; '.join(parts)} (`make study`, [all methods side by "
        "side](figures/study/table.md))."
    )


def cheaper() -> str:
    with (ROOT / "benchmarks" / "whole.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    parts = []
    for network in ("LeNet-5", "ResNet-20", "GPT"):
        seconds: dict[tuple[str, str], float] = {}
        for row in rows:
            if row["network"] == network:
                key = row["seed"], row["variant"]
                seconds[key] = seconds.get(key, 0.0) + float(row["seconds"])
        seeds = {seed for seed, _ in seconds}
        ratio = mean(seconds[seed, "compacted"] / seconds[seed, "dense"] for seed in seeds)
        target = next(float(row["target"]) for row in rows if row["network"] == network)
        parts.append(f"{ratio:.2f} for a {network} at {target:.0%} of the MACs")
    return (
        "**Trainings get cheaper on their way**: closed units leave the training model and the optimizer's state. "
        f"Seconds of a whole training over those of the dense one: {', '.join(parts)} (`python benchmarks/whole.py`, "
        "[docs/cheaper.md](docs/cheaper.md))."
    )


def latency() -> str:
    with (ROOT / "benchmarks" / "latency.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["budget"] == "latency"]
    near = sum(abs(float(row["measured"]) / float(row["asked"]) - 1) <= 0.1 for row in rows)
    return (
        f"**Budgets in milliseconds**: {near} of {len(rows)} purged networks within 10 % of the latency they were "
        "asked for, timed again (`python benchmarks/latency.py`, [docs/latency.md](docs/latency.md))."
    )


def main() -> int:
    accepted = parser(__doc__, data_dir=False, workers=False)
    accepted.add_argument("--check", action="store_true")
    options = accepted.parse_args()
    text = README.read_text(encoding="utf-8")
    new = text.split(BEGIN)[0] + measured() + text.split(END)[1]
    if options.check:
        return 0 if new == text else 1
    write_text(README, new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
