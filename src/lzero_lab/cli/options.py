"""The options of the command line, and what they mean as recipes, data and folders."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lzero.cost import COUNTED
from lzero_lab import datasets, models
from lzero_lab.cli import texts
from lzero_lab.datasets import Dataset
from lzero_lab.errors import DataError
from lzero_lab.training.methods import ESTIMATORS
from lzero_lab.training.recipe import Recipe
from lzero_lab.training.runtime import configure_cpu

TARGET = 0.1
FASTEST = 1e30  # rate: more is beyond what single precision holds of a step
DATA, MODEL = "digits", "mlp"
MOST_PROCESSES = 1024  # threads, or workers: more than that ends in the system's refusal
EPOCHS = {"digits": 200}  # its epochs are short: 9 steps
_OTHER_EPOCHS = 40


def add_data(parser: argparse.ArgumentParser) -> None:
    """Options for the data set and the network."""
    group = parser.add_argument_group("data and model")
    group.add_argument("--data", choices=datasets.names(), default=DATA, help=f"data set (default: {DATA})")
    group.add_argument("--data-dir", type=texts.path, metavar="DIR", help="folder with the files of all but digits")
    group.add_argument(
        "--model",
        type=texts.model,
        default=MODEL,
        metavar="NAME",
        help=f"{', '.join(models.names())} or wrn-<depth>-<width>, such as wrn-28-10 (default: {MODEL})",
    )
    add_granularity(group)
    group.add_argument(
        "--round-to",
        type=texts.positive(int),
        metavar="N",
        default=1,
        help="ship widths that are multiples of this, or whole (default: %(default)s)",
    )


def add_granularity(parser: argparse._ActionsContainer) -> None:
    """The option for what a gate switches."""
    parser.add_argument(
        "--granularity",
        type=texts.granularity,
        metavar="WORDS",
        default="unit",
        help="what gates switch: unit, input (also what linear layers read), weight, width, depth, experts, or some "
        "joined, width+depth (default: %(default)s)",
    )


def add_training(parser: argparse.ArgumentParser, *, one_seed: bool = True) -> None:
    """Options that change what a training computes."""
    default = Recipe()
    group = parser.add_argument_group("training")
    group.add_argument(
        "--epochs", type=texts.positive(int), help=f"default: {EPOCHS['digits']} on digits, else {_OTHER_EPOCHS}"
    )
    group.add_argument(
        "--batch-size",
        type=texts.positive(int),
        default=default.batch_size,
        help="examples a step, of all processes together (default: %(default)s)",
    )
    group.add_argument(
        "--lr", type=texts.positive(float, FASTEST), default=default.lr, help="of the weights (default: %(default)s)"
    )
    group.add_argument(
        "--gate-lr", type=texts.positive(float, FASTEST), default=default.gate_lr, help="default: by the steps"
    )
    group.add_argument(
        "--estimator",
        choices=[name for name in ESTIMATORS if name != "mask"],
        default=default.estimator,
        help="distribution of a gate (default: %(default)s)",
    )
    group.add_argument(
        "--optimizer",
        choices=("adam", "sgd"),
        default=default.optimizer,
        help="of the weights; gates always have Adam (default: %(default)s)",
    )
    if one_seed:
        group.add_argument("--seed", type=texts.seed, default=default.seed, help="default: %(default)s")


def add_run(parser: argparse.ArgumentParser) -> None:
    """Options for where a run goes and how it is carried out."""
    group = parser.add_argument_group("run")
    group.add_argument(
        "--out", type=texts.path, metavar="DIR", help="run folder (default: runs/, named after the options)"
    )
    group.add_argument(
        "--resume", action="store_true", help="continue the run in the folder; start it if there is none"
    )
    group.add_argument("--device", type=texts.device, default="cpu", help="cpu or cuda (default: %(default)s)")
    group.add_argument(
        "--threads",
        type=texts.positive(int, MOST_PROCESSES),
        default=1,  # the same bits on every machine; and a second thread on a busy core stalls small networks
        help="CPU threads; more may help convolutions on an idle machine (default: %(default)s)",
    )
    group.add_argument("--quiet", action="store_true", help="no progress bar")


def add_measure(parser: argparse._ActionsContainer) -> None:
    """The option for what a budget counts."""
    parser.add_argument(
        "--measure", choices=COUNTED, default="params", help="what the budget counts (default: %(default)s)"
    )


def load_data(options: argparse.Namespace) -> Dataset:
    """The data set that was asked for, on the device that was asked for."""
    configure_cpu(options.threads)
    return datasets.load(options.data, options.data_dir).to(options.device)


def recipe(options: argparse.Namespace, **values: Any) -> Recipe:
    """The recipe of one training, with ``values`` for what the command decides itself."""
    network = ("model", "granularity", "round_to", "estimator")
    training = ("batch_size", "lr", "gate_lr", "optimizer", "seed", "measure")
    chosen = {name: getattr(options, name) for name in (*network, *training) if hasattr(options, name)}
    epochs = options.epochs or EPOCHS.get(options.data, _OTHER_EPOCHS)
    return Recipe(**{**chosen, "epochs": epochs, **values})


def config(options: argparse.Namespace, recipe: Recipe, **further: Any) -> dict[str, Any]:
    """Everything that decides what the run computes, as plain values."""
    data_dir = None if options.data_dir is None else os.path.realpath(options.data_dir)
    named = {"command": options.command, "data": options.data, "data_dir": data_dir}
    return {**named, "recipe": recipe.to_dict(), **further}


def out(options: argparse.Namespace, *parts: object) -> Path:
    """The run folder that was asked for, or one below ``runs`` named after ``parts``."""
    if options.out is not None:
        return Path(options.out)
    return Path("runs") / "-".join(str(part) for part in (options.command, options.data, options.model, *parts))


def best_device() -> str:
    """cuda where there is a GPU, else cpu."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def read_recipe(values: dict[str, Any], place: Path) -> Recipe:
    """The recipe in the config of a run folder.

    Raises:
        DataError: the folder holds no single training, or its config is damaged.
    """
    if values.get("command") not in (None, "train") or not {"recipe", "data"} <= values.keys():
        raise DataError(
            f"{place}: holds no single training but a {values.get('command', 'thing')}; name a folder below it"
        )
    try:
        return Recipe.from_dict(values["recipe"])
    except DataError as problem:
        raise DataError(f"{place / 'config.json'}: {problem}; train anew into another folder") from problem


def source_of(values: Mapping[str, Any], place: Path, data_dir: Path | None) -> tuple[str, str | Path | None]:
    """The name of the data set of a run, and where its files lie, from the config at ``place``.

    Raises:
        DataError: its entries are something else.
    """
    name, folder = values["data"], data_dir or values.get("data_dir")
    if not isinstance(name, str) or not isinstance(folder, str | Path | None) or "\0" in str(folder):
        raise DataError(f"{place}: expected data and data_dir as names; train anew into another folder")
    return name, folder
