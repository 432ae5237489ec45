"""Eight budgets from one training against eight trainings, MNIST: front-mlp.csv, front-lenet5.csv, .png and .md.

    python figures/front.py --data-dir <folder with MNIST's IDX files> [--network mlp] [--seeds 3]

Both networks of the study, as in its recipes (SGD, weight decay, bfloat16 for LeNet-5) but for the lengths, which are
short (`EPOCHS`), and the rate of the gates, which is the default. Four ways to eight models, all of them evaluated on
test data at the end, with nothing chosen by it:

- eight trainings, one a budget;
- one of these eight trainings, purged at all eight budgets by its ranked gates (`lzero.front`), for each of the eight;
- one training that comes by all budgets on its way down (`lzero.Descent`), as long as one of the eight;
- the same, as long as all eight together.

The rate of the weights falls to 0 over the last 40 % of a training, and of every stage. Trainings that the CSV has are
skipped, so that it goes on where it was stopped.
"""

import argparse
import statistics
import time
import warnings

import torch
from script import HERE, head, line, parser
from torch.nn import functional as F

import lzero
from lzero.constraints import Budgets
from lzero.plots import save
from lzero.plots.front import front as draw
from lzero.plots.table import grouped
from lzero.recorder import Recorder
from lzero.settle import breaking
from lzero_lab.datasets import load
from lzero_lab.datasets.dataset import batches
from lzero_lab.files import write_text
from lzero_lab.models import MLP, LeNet5
from lzero_lab.training.evaluation import error
from lzero_lab.training.runtime import configure_cpu

TARGETS = (0.8, 0.55, 0.4, 0.266, 0.18, 0.12, 0.077, 0.05)  # of the parameters
EPOCHS = {"mlp": 10, "lenet5": 5}
NETWORKS = {"mlp": (MLP, 0.1, False), "lenet5": (LeNet5, 0.05, True)}  # with rate, and whether in bfloat16
NAMES = {"mlp": "MLP 784-300-100", "lenet5": "LeNet-5"}
BATCH, DECAY, WEIGHT_DECAY = 128, 0.4, 5e-4
WAYS = ("eight trainings", "one descent, as long as one", "one descent, as long as eight", "cut")


def build(network, data, seed):
    torch.manual_seed(seed)
    model = NETWORKS[network][0]().to(memory_format=torch.channels_last)
    return model, lzero.attach_gates(model, data.train_x[:2], granularity="input")


def train(network, model, data, seed, epochs, stepper, progress, after=lambda: None):
    """The loop of all ways: ``progress()`` in [0, 1] says how far the rate has come, ``after()`` comes last."""
    _, rate, half = NETWORKS[network]
    optimizer = torch.optim.SGD(model.parameters(), rate, momentum=0.9, weight_decay=WEIGHT_DECAY)
    order = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(epochs):
        for x, y in batches(data.train_x, data.train_y, BATCH, order):
            optimizer.param_groups[0]["lr"] = rate * min(1.0, (1 - progress()) / DECAY)
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                scores = model(x)
            F.cross_entropy(scores.float(), y).backward()
            stepper.step()
            optimizer.step()
            after()


def shipped(gates, result, target, data):
    """The columns of one purged model."""
    budgets = Budgets([lzero.Constraint(target)], gates)
    open_ = torch.cat([result.kept[name] for name in gates.slices])
    possible = ~open_ & ((gates.owners < 0) | open_[gates.owners.clamp_min(0)])
    return {
        "asked": target,
        "shipped": result.certificate.deployed["params"],
        "within_one_unit": int(bool(breaking(budgets, open_)[possible].all())),
        "before_settling": result.certificate.before_settling["params"],
        "params": result.certificate.parameters / result.certificate.parameters_before,
        "macs": result.layers.total("macs") / result.layers.total("macs_before"),
        "validation_error": error(result.model, data.validation_x, data.validation_y),
        "test_error": error(result.model, data.test_x, data.test_y),
    }


def purged(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lzero.LzeroWarning)  # `before_settling` says it
        return lzero.purge(model)


def one_training(network, data, seed, target):
    """One training at a budget, and the same one cut at all of them."""
    model, gates = build(network, data, seed)
    steps = EPOCHS[network] * -(-len(data.train_x) // BATCH)
    solver = lzero.Solver(gates, target, total_steps=steps)
    train(network, model, data, seed, EPOCHS[network], solver, lambda: solver.steps / steps)
    rows = [{"way": WAYS[0], "trained_for": target, **shipped(gates, purged(model), target, data)}]
    tests = []

    def evaluate(small):
        tests.append(error(small, data.test_x, data.test_y))
        return error(small, data.validation_x, data.validation_y)

    for row, test in zip(lzero.front(model, TARGETS, evaluate).rows, tests, strict=True):
        kept = {name: row[name] for name in ("asked", "shipped", "params", "macs")}
        rows.append(
            {"way": "cut", "trained_for": target, **kept, "validation_error": row["evaluation"], "test_error": test}
        )
    return rows


def one_descent(network, data, seed, way):
    epochs = EPOCHS[network] * (len(TARGETS) if way == WAYS[2] else 1)
    model, gates = build(network, data, seed)
    descent = lzero.Descent(gates, TARGETS, total_steps=epochs * -(-len(data.train_x) // BATCH))
    rows = []

    def after():
        if descent.due:
            target = descent.constraints[0].target
            rows.append({"way": way, "trained_for": target, **shipped(gates, purged(model), target, data)})

    train(network, model, data, seed, epochs, descent, lambda: descent.progress, after)
    return rows


def run(network, data, seeds):
    path = HERE / f"front-{network}.csv"
    table = Recorder.from_csv(path) if path.exists() else Recorder()
    done = {row["cell"] for row in table}
    for seed in range(seeds):
        cells = [(WAYS[1], None), *((WAYS[0], target) for target in TARGETS), (WAYS[2], None)]
        for way, target in cells:
            key = f"{network} {seed} {way} {target or ''}".strip()
            if key in done:
                continue
            started = time.perf_counter()
            if target is None:
                rows = one_descent(network, data, seed, way)
            else:
                rows = one_training(network, data, seed, target)
            seconds = time.perf_counter() - started
            for row in rows:
                table.append(cell=key, network=network, seed=seed, epochs=EPOCHS[network], seconds=seconds, **row)
            table.to_csv(path)
            print(key, f"{seconds:.0f} s", [round(100 * row["test_error"], 2) for row in rows], flush=True)


def everything():
    files = [HERE / f"front-{network}.csv" for network in NETWORKS]
    return [row for file in files if file.exists() for row in Recorder.from_csv(file)]


def whole(rows):
    """The rows of seeds that have a way at all budgets: means over budgets are then those of the same seeds."""
    groups = {}
    for row in rows:
        groups.setdefault((row["network"], row["seed"], label(row)), []).append(row)
    return [row for group in groups.values() if {row["asked"] for row in group} == set(TARGETS) for row in group]


def label(row):
    if row["way"] != "cut":
        return row["way"]
    return f"one training at {row['trained_for']:.1%}, cut"


SHOWN = (*WAYS[:3], *(f"one training at {target:.1%}, cut" for target in (TARGETS[0], 0.266, TARGETS[-1])))


def points(rows, network):
    """The rows of one network as :func:`lzero.plots.front` takes them; of the cut trainings three."""
    found = [
        {
            "label": label(row), "cut": int(row["way"] == "cut"), "asked": row["asked"], "params": row["params"],
            "macs": row["macs"], "evaluation": row["test_error"],
        }
        for row in whole(rows)
        if row["network"] == network
    ]  # fmt: skip
    return sorted((row for row in found if row["label"] in SHOWN), key=lambda row: SHOWN.index(row["label"]))


def table(rows):
    """Mean test errors: a line a way, a column a budget."""
    text = ["# Eight budgets from one training, or from eight", "", "Made by `python figures/front.py`.", ""]
    for network in dict.fromkeys(row["network"] for row in rows):
        mine = [{**row, "label": label(row)} for row in whole(rows) if row["network"] == network]
        exact = [row for row in mine if row["way"] != "cut"]
        met = sum(row["asked"] >= row["shipped"] and row["within_one_unit"] == 1 for row in exact)
        cut = [row for row in mine if row["way"] == "cut"]
        text += [
            f"## {NAMES[network]}",
            "",
            "Test error in per cent of the purged model by parameters asked for, mean over seeds; "
            f"{EPOCHS[network]} epochs a training. {met} of {len(exact)} models of the trainings and descents are at "
            "or below their budget and within one unit of it, and "
            f"{sum(row['asked'] >= row['shipped'] for row in cut)} of {len(cut)} of those that were cut at or below.",
            "",
            *head(["", *(f"{target:.1%}" for target in TARGETS), "seeds", "epochs in all"]),
        ]
        labels = [*WAYS[:3], *(f"one training at {target:.1%}, cut" for target in TARGETS)]
        groups = grouped(mine, "label")
        for name in (name for name in labels if name in groups):
            by_target = grouped(groups[name], "asked")
            errors = [[row["test_error"] for row in by_target[str(target)]] for target in TARGETS]
            cells = [*(f"{100 * statistics.fmean(values):.2f}" for values in errors), str(len(errors[0]))]
            times = len(TARGETS) if name in (WAYS[0], WAYS[2]) else 1
            text.append(line([name, *cells, str(times * EPOCHS[network])]))
        text.append("")
    return "\n".join(text)


def main() -> None:
    accepted: argparse.ArgumentParser = parser(__doc__, workers=False)
    accepted.add_argument("--network", choices=NETWORKS, help="train this one alone, for a process each")
    accepted.add_argument("--seeds", type=int, default=3)
    options = accepted.parse_args()
    configure_cpu(threads=1)
    data = load("mnist", options.data_dir)
    for network in [options.network] if options.network else NETWORKS:
        run(network, data, options.seeds)
    rows = everything()
    write_text(HERE / "front.md", table(rows))
    for network in dict.fromkeys(row["network"] for row in rows):
        figure, _ = draw(
            points(rows, network), scale=100, label=f"{NAMES[network]}: test error (%)", log_x=True, log_y=True
        )
        save(figure, HERE / f"front-{network}.png")


if __name__ == "__main__":
    main()
