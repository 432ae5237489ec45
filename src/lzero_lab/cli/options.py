"""The options of the command line, and what they mean as recipes, data and folders."""

from __future__ import annotations

import argparse
import errno
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from lzero.checks import shown
from lzero.cost import COUNTED
from lzero.plan.granularity import expected, granularities, spelled
from lzero_lab import datasets, models
from lzero_lab.datasets import Dataset
from lzero_lab.errors import DataError
from lzero_lab.training.methods import ESTIMATORS
from lzero_lab.training.recipe import LARGEST, SEEDS, Recipe, Scope
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
    group.add_argument("--data-dir", type=path, metavar="DIR", help="folder with the files of all but digits")
    group.add_argument(
        "--model",
        type=model,
        default=MODEL,
        metavar="NAME",
        help=f"{', '.join(models.names())} or wrn-<depth>-<width>, such as wrn-28-10 (default: {MODEL})",
    )
    add_granularity(group)
    group.add_argument(
        "--round-to",
        type=positive(int),
        metavar="N",
        default=1,
        help="ship widths that are multiples of this, or whole (default: %(default)s)",
    )


def add_granularity(parser: argparse._ActionsContainer) -> None:
    """The option for what a gate switches."""
    parser.add_argument(
        "--granularity",
        type=granularity,
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
        "--epochs", type=positive(int), help=f"default: {EPOCHS['digits']} on digits, else {_OTHER_EPOCHS}"
    )
    group.add_argument(
        "--batch-size",
        type=positive(int),
        default=default.batch_size,
        help="examples a step, of all processes together (default: %(default)s)",
    )
    group.add_argument(
        "--lr", type=positive(float, FASTEST), default=default.lr, help="of the weights (default: %(default)s)"
    )
    group.add_argument(
        "--gate-lr", type=positive(float, FASTEST), default=default.gate_lr, help="default: by the steps"
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
        group.add_argument("--seed", type=seed, default=default.seed, help="default: %(default)s")


def add_run(parser: argparse.ArgumentParser) -> None:
    """Options for where a run goes and how it is carried out."""
    group = parser.add_argument_group("run")
    group.add_argument("--out", type=path, metavar="DIR", help="run folder (default: runs/, named after the options)")
    group.add_argument(
        "--resume", action="store_true", help="continue the run in the folder; start it if there is none"
    )
    group.add_argument("--device", type=device, default="cpu", help="cpu or cuda (default: %(default)s)")
    group.add_argument(
        "--threads",
        type=positive(int, MOST_PROCESSES),
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


def positive(kind: Callable[[str], Any], most: float = math.inf) -> Callable[[str], Any]:
    """A type for argparse: a finite number of ``kind`` above 0, at most ``most``; a whole one fits into 64 bits."""
    most = min(most, LARGEST) if kind is int else most

    def parse(text: str) -> Any:
        value = kind(text)
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"expected a number above 0, found {text}")
        if value > most:
            raise argparse.ArgumentTypeError(f"expected at most {most:,}, found {text}")
        return value

    parse.__name__ = kind.__name__  # argparse names it where the text is no number
    return parse


def path(text: str) -> Path:
    """A type for argparse: a path that the system can look at, whether or not anything is there."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected the name of a file or folder, found {text!r}")
    try:
        os.stat(text)
    except OSError as problem:
        if problem.errno in (errno.ELOOP, errno.ENAMETOOLONG):
            raise argparse.ArgumentTypeError(f"{shown(text)}: {problem.strerror}; name another place") from problem
    except ValueError as problem:  # characters that no file system has
        raise argparse.ArgumentTypeError(f"{shown(text)}: {problem}; name another place") from problem
    return Path(text)


def density(text: str) -> float:
    """A type for argparse: a density in (0, 1]."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"expected a density in (0, 1], such as 0.1 for a tenth, found {text}")
    return value


def distance(text: str) -> float:
    """A type for argparse: a distance between two densities, in (0, 1)."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a distance in (0, 1), such as 0.01 for one point, found {text}")
    return value


def seed(text: str) -> int:
    """A type for argparse: a whole number that seeds a generator."""
    value = int(text)
    if value not in SEEDS:
        raise argparse.ArgumentTypeError(f"expected a seed from -2^63 to 2^64 - 1, found {text}")
    return value


def scope(text: str) -> Scope:
    """A type for argparse: "model", "layer", or "fc1=0.3,fc2=0.5"."""
    if text in ("model", "layer"):
        return text
    targets = {}
    for part in text.split(","):
        path, equals, value = part.partition("=")
        try:
            targets[path.strip()] = density(value)
        except ValueError:
            equals = ""
        if not equals or not path.strip():
            raise argparse.ArgumentTypeError(f'expected model, layer or "name=0.3,name=0.5", found {text!r}')
    return targets


def further_budget(text: str) -> tuple[str, float]:
    """A type for argparse: a measure and its density, "macs=0.1"."""
    measure, equals, value = text.partition("=")
    if measure not in COUNTED or not equals:
        raise argparse.ArgumentTypeError(f"expected {', '.join(COUNTED)}, each with =0.1 or the like, found {text!r}")
    return measure, density(value)


def granularity(text: str) -> str:
    """What gates switch, its words in one order."""
    words = spelled(text)
    if words not in granularities():
        raise argparse.ArgumentTypeError(f"expected {expected()}, found {text!r}")
    return words


def model(text: str) -> str:
    """A type for argparse: the name of a network."""
    if not models.known(text):
        raise argparse.ArgumentTypeError(
            f"expected {', '.join(models.names())} or wrn-<depth>-<width>, such as wrn-28-10, found {text!r}"
        )
    return text


def device(text: str) -> str:
    """A type for argparse: a device that PyTorch sees."""
    try:
        found = torch.device(text)
    except RuntimeError as problem:
        raise argparse.ArgumentTypeError(f"expected cpu or cuda, found {text!r}") from problem
    if found.type not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"expected cpu or cuda, found {text!r}")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise argparse.ArgumentTypeError(f"{text}: PyTorch sees no such GPU here; use --device cpu")
    return str(found)


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
