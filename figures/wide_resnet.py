"""Wide residual networks on CIFAR-10, at a budget and at a penalty: writes wide_resnet.csv, a row a finished training.

    python figures/wide_resnet.py --data-dir <folder with cifar10-jpeg.tar.gz> --device cuda --hours 10

It is for a GPU. A checkpoint is written after every epoch: run the same line again to go on, and finished trainings are
skipped. wide_resnet.md says what is trained, and what a published lambda means here.
"""

import argparse
import hashlib
import math
import os
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lzero.errors import LzeroError
from lzero.recorder import Recorder
from lzero_lab import datasets, models
from lzero_lab.cells import Cell
from lzero_lab.files import write_tensors
from lzero_lab.recipe import Recipe
from lzero_lab.summary import ship, summarise
from lzero_lab.training import Training, quicken
from lzero_lab.wide_resnet import WideResNet

HERE = Path(__file__).parent
PUBLISHED_EXAMPLES = 50_000  # the N of a published lambda / N

REPORTED = ("trained", "parameters", "parameters_share", "macs_share", "test_error", "seconds")

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
    quicken()
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False  # what is not bfloat16, validation and the check of purging, is exact
    try:
        data = datasets.load("cifar10", options.data_dir).to(options.device)
    except LzeroError as problem:
        raise SystemExit(str(problem)) from problem
    rows = Recorder.from_csv(options.out) if options.out.exists() else Recorder()
    deadline = time.time() + 3600 * options.hours
    for method in options.methods:
        for seed in options.seeds:
            cell = Cell("cifar10", recipe(options, method, seed))
            if cell.key in {row["cell"] for row in rows}:
                continue
            try:
                training = train(cell, data, options, f"{method}, seed {seed}", deadline)
                if training is None:
                    print("out of time; run it again to go on", flush=True)
                    return
                row = shipped(training, options.folder / f"{name(cell)}-purged.pt")
            except LzeroError as problem:
                print(f"{method}, seed {seed}: {problem}", flush=True)
                continue
            rows.append(cell=cell.key, method=method, **row)
            rows.to_csv(options.out)
            checkpoint(cell, options).unlink(missing_ok=True)
            print(f"{method}, seed {seed}: " + ", ".join(f"{key} {row[key]}" for key in REPORTED))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=os.environ.get("LZERO_DATA", "data"))
    parser.add_argument("--depth", type=int, default=28)
    parser.add_argument("--width", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--steps", type=int, help="optimizer steps, instead of epochs; to try the script")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--schedule", choices=("cosine", "drops"), default="cosine", help="drops: the papers'")
    parser.add_argument(
        "--gate-lr", type=float, default=Recipe().gate_lr, help="of the gates' Adam (default: by the steps)"
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[m for m in METHODS if m != "streams-0.2"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true", help="torch.compile the network")
    parser.add_argument("--hours", type=float, default=math.inf, help="begin no epoch after so many hours")
    parser.add_argument("--out", type=Path, default=HERE / "wide_resnet.csv")
    parser.add_argument("--folder", type=Path, default=Path("runs/wide_resnet"), help="checkpoints, epochs, networks")
    return parser.parse_args(arguments)


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


def train(cell: Cell, data: datasets.Dataset, options: argparse.Namespace, label: str, deadline: float):
    """The finished training, resumed where it was; None where the deadline came first."""
    training = Training(cell.recipe, data)
    saved = checkpoint(cell, options)
    if saved.exists():
        training.load(saved)
    while training.step < training.steps:
        if time.time() > deadline:
            return None
        row = training.run_epoch()
        training.save(saved)
        training.recorder.to_csv(options.folder / f"{name(cell)}-epochs.csv")
        said = (f"{key} {row[key]:.4f}" for key in ("loss", "error", "expected", "deployed") if key in row)
        print(f"{label}, epoch {row['epoch']}: {', '.join(said)}, {row['seconds']:.0f} s", flush=True)
    return training


def shipped(training: Training, weights: Path) -> dict:
    """The row of a finished training, of the purged model, whose weights are written too."""
    result = ship(training)
    write_tensors(weights, result.model.state_dict())
    summary, chosen, x = summarise(training, result), training.recipe, training.data.test_x[:1]
    with torch.device("meta"):
        whole = models.build(chosen.model, training.data)
    macs, whole_macs = count_macs(result.model, x), count_macs(whole, x)
    return {
        "model": chosen.model,
        "seed": chosen.seed,
        "asked": chosen.target,
        "coefficient": chosen.coefficient,
        "epochs": training.epoch,
        "steps": training.step,
        "expected": result.certificate.expected["params"],
        "trained": summary.trained,
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


def count_macs(model: nn.Module, x: torch.Tensor) -> int:
    """Multiplications of one image, counted by PyTorch."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(x.to(next(model.parameters()).device))
    return counter.get_total_flops() // 2


def checkpoint(cell: Cell, options: argparse.Namespace) -> Path:
    return options.folder / f"{name(cell)}.pt"


def name(cell: Cell) -> str:
    return hashlib.sha256(cell.key.encode()).hexdigest()[:16]


if __name__ == "__main__":
    main()
