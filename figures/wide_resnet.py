"""Wide residual networks on CIFAR-10, at a budget and at a penalty: writes wide_resnet.csv, a row a finished training.

    python figures/wide_resnet.py --data-dir <folder with cifar10-jpeg.tar.gz> --device cuda --hours 10

It is for a GPU. A checkpoint is written after every epoch: run the same line again to go on, and finished trainings are
skipped. wide_resnet.md says what is trained, and what a published lambda means here.
"""

import argparse
import math
import time
from functools import partial
from pathlib import Path

import torch
from script import HERE, parser

from lzero.errors import LzeroError
from lzero_lab import datasets
from lzero_lab.files import write_tensors
from lzero_lab.models import WideResNet
from lzero_lab.studies.cell import Cell, train
from lzero_lab.studies.cells import CellTable
from lzero_lab.training.evaluation import operations, whole_network
from lzero_lab.training.recipe import Recipe
from lzero_lab.training.runtime import configure_cpu
from lzero_lab.training.summary import ship, summarise
from lzero_lab.training.training import Training

PUBLISHED_EXAMPLES = 50_000  # the N of a published lambda / N

REPORTED = ("before_settling", "parameters", "parameters_share", "macs_share", "test_error", "seconds")

# Per method, what its recipe adds; "lambda" is a published one, per parameter and example.
METHODS = {
    "dense": {"method": "dense"},
    "constrained-0.5": {"target": 0.5},
    "constrained-0.2": {"target": 0.2},
    "penalized-0.001": {"method": "penalized", "lambda": 0.001},
    "penalized-0.002": {"method": "penalized", "lambda": 0.002},
    "arm-constrained-0.5": {"target": 0.5, "estimator": "arm"},
    "arm-constrained-0.2": {"target": 0.2, "estimator": "arm"},
    "arm-penalized-0.001": {"method": "penalized", "lambda": 0.001, "estimator": "arm"},
    "arm-penalized-0.002": {"method": "penalized", "lambda": 0.002, "estimator": "arm"},
    # With gates on the residual streams too, which no published run has.
    "streams-0.2": {"target": 0.2, "ignore": ()},
}


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    configure_cpu()
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False  # what is not bfloat16, validation and the check of purging, is exact
    try:
        data = datasets.load("cifar10", options.data_dir).to(options.device)
    except LzeroError as problem:
        raise SystemExit(str(problem)) from problem
    table = CellTable(options.out)
    cells = [cell(options, method, seed) for method in options.methods for seed in options.seeds]
    deadline = time.time() + 3600 * options.hours
    for one in table.unfinished(cells):
        label = f"{dict(one.labels)['method']}, seed {one.recipe.seed}"
        saved, files = options.folder / f"{one.file_name}.pt", options.folder / one.file_name
        try:
            training = train(
                one.recipe, data, saved, deadline=deadline, on_epoch=partial(report, label, f"{files}-epochs.csv")
            )
            if training is None:
                print("out of time; run it again to go on", flush=True)
                return
            row = shipped(training, f"{files}-purged.pt")
        except LzeroError as problem:
            print(f"{label}: {problem}", flush=True)
            continue
        table.keep({"cell": one.key, **dict(one.labels), **row})
        saved.unlink(missing_ok=True)
        print(f"{label}: " + ", ".join(f"{key} {row[key]}" for key in REPORTED))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    accepted = parser(__doc__, workers=False)
    accepted.add_argument("--depth", type=int, default=28)
    accepted.add_argument("--width", type=int, default=10)
    accepted.add_argument("--epochs", type=int, default=200)
    accepted.add_argument("--steps", type=int, help="optimizer steps, instead of epochs; to try the script")
    accepted.add_argument("--batch-size", type=int, default=128)
    accepted.add_argument("--schedule", choices=("cosine", "drops"), default="cosine", help="drops: the papers'")
    accepted.add_argument(
        "--gate-lr", type=float, default=Recipe().gate_lr, help="of the gates' Adam (default: by the steps)"
    )
    accepted.add_argument("--methods", nargs="+", choices=METHODS, default=[m for m in METHODS if m != "streams-0.2"])
    accepted.add_argument("--seeds", type=int, nargs="+", default=[0])
    accepted.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    accepted.add_argument("--compile", action="store_true", help="torch.compile the network")
    accepted.add_argument("--hours", type=float, default=math.inf, help="begin no epoch after so many hours")
    accepted.add_argument("--out", type=Path, default=HERE / "wide_resnet.csv")
    accepted.add_argument("--folder", type=Path, default=Path("runs/wide_resnet"), help="checkpoints, epochs, networks")
    return accepted.parse_args(arguments)


def cell(options: argparse.Namespace, method: str, seed: int) -> Cell:
    """The training of a method with a seed."""
    return Cell("cifar10", recipe(options, method, seed), options.data_dir, (("method", method),))


def recipe(options: argparse.Namespace, method: str, seed: int) -> Recipe:
    """SGD as published over the weights, Adam over the gates; channels inside the blocks gated, no others."""
    fields = dict(METHODS[method])
    if "lambda" in fields:
        fields["coefficient"] = coefficient(options.depth, options.width, fields.pop("lambda"))
    shared = {
        "model": f"wrn-{options.depth}-{options.width}",
        "ignore": WideResNet.STREAMS,
        "epochs": options.epochs,
        "steps": options.steps,
        "batch_size": options.batch_size,
        "optimizer": "sgd",
        "nesterov": True,
        "lr": 0.1,
        "gate_lr": options.gate_lr,
        "weight_decay": 5e-4,
        "schedule": options.schedule,
        "augment": True,
        "bf16": torch.device(options.device).type == "cuda",
        "compile": "inductor" if options.compile else "",
        "seed": seed,
    }
    return Recipe(**{**shared, **fields})


def coefficient(depth: int, width: int, published: float) -> float:
    """Of Penalty on the share of all parameters, from a published lambda: lambda |theta| / N (see wide_resnet.md)."""
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in WideResNet(depth, width).parameters())
    return published * parameters / PUBLISHED_EXAMPLES


def report(label: str, path: str, training: Training, row: dict) -> None:
    """Write the epochs so far and say how the last one went."""
    training.recorder.to_csv(path)
    said = (f"{key} {row[key]:.4f}" for key in ("loss", "error", "expected", "deployed") if key in row)
    print(f"{label}, epoch {row['epoch']}: {', '.join(said)}, {row['seconds']:.0f} s", flush=True)


def shipped(training: Training, weights: str | Path) -> dict:
    """The row of a finished training, of the purged model, whose weights are written too."""
    result = ship(training)
    write_tensors(weights, result.model.state_dict())
    summary, chosen, x = summarise(training, result), training.recipe, training.data.test_x[:1]
    macs, whole_macs = (operations(net, x) // 2 for net in (result.model, whole_network(chosen.model, training.data)))
    return {
        "model": chosen.model,
        "seed": chosen.seed,
        "asked": chosen.target,
        "coefficient": chosen.coefficient,
        "epochs": training.epoch,
        "steps": training.step,
        "expected": result.certificate.expected["params"],
        "before_settling": summary.before_settling,
        "parameters": summary.parameters,
        "parameters_share": summary.parameters / summary.parameters_before,
        "macs": macs,
        "macs_share": macs / whole_macs,
        "moved": result.certificate.moved,
        "threshold": result.certificate.threshold,
        "largest_difference": result.certificate.largest_difference,
        "validation_error": summary.validation_error,
        "test_error": summary.test_error,
        "seconds": summary.seconds,
    }


if __name__ == "__main__":
    main()
