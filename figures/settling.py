"""When should gates settle, and what is an open gate then? Writes settling.csv and settling.md.

    python figures/settling.py --data-dir <folder with MNIST's IDX files> [--part 0/2]

Four kinds of network, from scratch and from a trained network of the same kind, several lengths; per training: the
gates settle at the end or before (``finetune``), and an open gate is its mean or its median. A cell is the validation
error of the purged model, and that with fresh BatchNorm statistics where there are any; nothing is chosen on test data.
Rows that the CSV has are not trained again; ``--part i/n`` trains every n-th cell, for several processes with a CSV
each.
"""

import itertools
import statistics
import warnings

import torch
from script import HERE, head, line, parser
from torch import nn
from torch.nn import functional as F

import lzero
from lzero.recorder import Recorder
from lzero_lab.datasets import load
from lzero_lab.files import write_text
from lzero_lab.models import MLP, LeNet5, ResNet
from lzero_lab.training.evaluation import error
from lzero_lab.training.runtime import configure_cpu

FINETUNE = (0.0, 0.1, 0.2, 0.3)
OPEN = (0.9, 0.97, 0.99, 0.999, 0.9999)


class Rows(nn.Module):
    """A transformer that reads the rows of an image, one token a row."""

    def __init__(self, side=8, width=64, layers=2):
        super().__init__()
        self.embed = nn.Linear(side, width)
        self.place = nn.Parameter(0.02 * torch.randn(side, width))
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        tokens = self.embed(x.flatten(1).view(len(x), -1, self.embed.in_features)) + self.place
        return self.head(self.encoder(tokens).mean(1))


# name: data, network, target, measure, granularity, lengths
PROBLEMS = {
    "ResNet": ("digits", lambda: ResNet(1, widths=(16, 32)), 0.2, "macs", "unit", (300, 1000, 3000)),
    "transformer": ("digits", lambda: Rows(), 0.3, "params", "unit", (300, 1000, 3000)),
    "MLP": ("mnist", lambda: MLP(784), 0.1, "params", "input", (300, 1000, 5000)),
    "LeNet-5": ("mnist", lambda: LeNet5(), 0.1, "params", "input", (300, 1000)),
}
COLUMNS = [*itertools.product(FINETUNE, ["mean"]), (0.0, "median"), (0.2, "median")]
FEW = {(0.0, "mean"), (0.2, "mean"), (0.0, "median")}  # of the slow network
RATES = {"scratch": 1e-3, "trained": 5e-4}


def batches(data, size, steps, seed):
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(data.train_x), generator=generator)
    for _ in range(steps):
        if len(order) < size:
            order = torch.randperm(len(data.train_x), generator=generator)
        chosen, order = order[:size], order[size:]
        yield data.train_x[chosen], data.train_y[chosen]


def train(model, data, steps, rate, seed, solver=None):
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    for x, y in batches(data, 64, steps, seed):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        if solver is not None:
            solver.step()
        optimizer.step()
        schedule.step()


def dense(problem, data, seed, cache={}):  # noqa: B006
    """A trained network of the kind, and its validation error."""
    if (problem, seed) not in cache:
        torch.manual_seed(seed)
        model = PROBLEMS[problem][1]()
        train(model, data, 2000, 1e-3, seed)
        cache[problem, seed] = model.state_dict(), error(model, data.validation_x, data.validation_y)
    return cache[problem, seed]


def cell(problem, data, start, steps, finetune, evaluate, seed, open_probability):
    _, build, target, measure, granularity, _ = PROBLEMS[problem]
    torch.manual_seed(seed)
    model = build()
    if start == "trained":
        model.load_state_dict(dense(problem, data, seed)[0])
    estimator = lzero.HardConcrete(evaluate=evaluate)
    gates = lzero.attach_gates(
        model, data.train_x[:4], granularity=granularity, estimator=estimator, open_probability=open_probability
    )
    solver = lzero.Solver(gates, target, measure=measure, total_steps=steps, finetune=finetune)
    x, y = next(batches(data, 64, 1, seed))
    first = F.cross_entropy(model.train()(x), y).item()
    train(model, data, steps, RATES[start], seed + 1, solver)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lzero.LzeroWarning)
        result = lzero.purge(model)
    row = {
        "first_loss": first,
        "before_settling": result.certificate.before_settling[measure],
        "shipped": result.certificate.deployed[measure],
        "validation_error": error(result.model, data.validation_x, data.validation_y),
    }
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        torch.optim.swa_utils.update_bn([x for x, _ in batches(data, 64, 50, seed)], result.model)
        row["fresh_error"] = error(result.model, data.validation_x, data.validation_y)
    return row


def main() -> None:
    accepted = parser(__doc__, workers=False)
    accepted.add_argument("--part", default="0/1")
    accepted.add_argument("--seeds", type=int, default=2)
    options = accepted.parse_args()
    configure_cpu(threads=1)
    mine, parts = map(int, options.part.split("/"))
    path = HERE / "settling.csv"
    own = path if parts == 1 else HERE / f"settling-{mine}.csv"
    done = {row["cell"]: row for file in HERE.glob("settling*.csv") for row in Recorder.from_csv(file)}
    mine_done = Recorder.from_csv(own) if own.exists() else Recorder()
    cells = [
        (problem, start, steps, finetune, evaluate, seed, 0.97)
        for seed in range(options.seeds)
        for problem, (*_, lengths) in PROBLEMS.items()
        for steps in lengths
        for start in RATES
        for finetune, evaluate in COLUMNS
        if problem != "LeNet-5" or (finetune, evaluate) in FEW
    ]
    cells += [
        (problem, "trained", steps, finetune, "mean", seed, p)
        for seed in range(options.seeds)
        for problem in ("ResNet", "transformer")
        for steps in (300, 1000)
        for finetune in (0.0, 0.2)
        for p in (0.9, 0.99, 0.999, 0.9999)
    ]
    data = {name: load(name, options.data_dir) for name in ("digits", "mnist")}
    cells.sort(key=lambda point: (point[5], point[0] in ("MLP", "LeNet-5"), point[2]))  # the telling ones first
    for point in cells[mine::parts]:
        problem, start, steps, finetune, evaluate, seed, p = point
        key = " ".join(map(str, point))
        if key in done:
            continue
        row = {
            "cell": key, "problem": problem, "start": start, "steps": steps, "finetune": finetune,
            "evaluate": evaluate, "seed": seed, "open_probability": p,
            **cell(problem, data[PROBLEMS[problem][0]], start, steps, finetune, evaluate, seed, p),
        }  # fmt: skip
        mine_done.append(**row)
        mine_done.to_csv(own)
        print(key, {k: v for k, v in row.items() if isinstance(v, float)}, flush=True)
    if parts == 1:
        table(Recorder.from_csv(path).rows)


def table(rows) -> None:
    """Means over seeds of validation errors: settling.md."""
    text = ["# When gates settle, and what an open gate is", "", "Made by `python figures/settling.py`.", ""]
    write_text(HERE / "settling.md", "\n".join([*text, *tables(rows)]) + "\n")


def tables(rows) -> list[str]:
    lines = [
        "Validation error of the purged model, per cent, mean over seeds; in brackets with fresh BatchNorm statistics.",
        "",
        *head(["network, start, steps", *(f"mean, finetune {f:g}" for f in FINETUNE), "median", "median, 0.2"]),
    ]
    settings = dict.fromkeys((r["problem"], r["start"], r["steps"]) for r in rows if r["open_probability"] == 0.97)
    for setting in settings:
        cells = []
        for column in COLUMNS:
            found = [
                r
                for r in rows
                if (r["problem"], r["start"], r["steps"]) == setting
                and (r["finetune"], r["evaluate"]) == column
                and r["open_probability"] == 0.97
            ]
            cells.append(shown(found))
        lines.append(line([f"{setting[0]}, {setting[1]}, {setting[2]:,}", *cells]))
    lines += [
        "",
        "From a trained network, by the probability that a gate is open at the start: train-mode loss of the first "
        "step / validation error (finetune 0) / validation error (finetune 0.2).",
        "",
        *head(["network, steps", *(f"{p:g}" for p in OPEN)]),
    ]
    for problem, steps in itertools.product(("ResNet", "transformer"), (300, 1000)):
        cells = []
        for p in OPEN:
            chosen = [
                r
                for r in rows
                if (r["problem"], r["start"], r["steps"], r["evaluate"], r["open_probability"])
                == (problem, "trained", steps, "mean", p)
            ]
            first = statistics.fmean(r["first_loss"] for r in chosen) if chosen else float("nan")
            by_share = [shown([r for r in chosen if r["finetune"] == f]) for f in (0.0, 0.2)]
            cells.append(f"{first:.3f} / {' / '.join(by_share)}")
        lines.append(line([f"{problem}, {steps:,}", *cells]))
    return lines


def shown(rows) -> str:
    if not rows:
        return "–"
    text = f"{100 * statistics.fmean(r['validation_error'] for r in rows):.2f}"
    fresh = [r["fresh_error"] for r in rows if r.get("fresh_error") not in (None, "")]
    return text + (f" ({100 * statistics.fmean(fresh):.2f})" if fresh else "")


if __name__ == "__main__":
    main()
