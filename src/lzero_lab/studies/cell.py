"""One training of a study: what identifies it, its training from checkpoint to checkpoint, and its row."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import count
from pathlib import Path
from typing import Any

from torch import Tensor

from lzero.errors import LzeroError, LzeroWarning
from lzero.recorder import Recorder, Row
from lzero_lab.datasets import Dataset, load
from lzero_lab.errors import DamagedError, DataError
from lzero_lab.files import read_tensors, write_tensors
from lzero_lab.studies.row import device_name, of_recipe, of_result, without_bins
from lzero_lab.studies.workers import stopping
from lzero_lab.training.checkpoint import ADVICE
from lzero_lab.training.recipe import Recipe
from lzero_lab.training.summary import ship
from lzero_lab.training.training import Training

PROGRESS = ".rows.csv"  # behind the name of a cell: its rows so far


@dataclass(frozen=True)
class Cell:
    """One training of a study: a recipe on a data set, with the files that the data lies in."""

    data: str
    recipe: Recipe
    data_dir: str | None = None
    labels: tuple[tuple[str, str], ...] = ()  # further columns of its row
    begins_others: bool = False  # whether trainings begin with its weights, which it leaves behind for them

    @property
    def key(self) -> str:
        """What identifies the cell in a CSV: the data set and all of the recipe that is not a default."""
        default = Recipe().to_dict()
        changed = {name: value for name, value in self.recipe.to_dict().items() if value != default.get(name)}
        return f"{self.data} {json.dumps(changed, sort_keys=True)}"

    @property
    def file_name(self) -> str:
        """What files of the cell are called, without a suffix: a digest of its key."""
        return file_name(self.key)


def weights_path(folder: str | os.PathLike[str], name: str) -> Path:
    """Where the cell whose :func:`file_name` is ``name`` leaves its weights for trainings that begin with them."""
    return Path(folder, f"{name}-weights.pt")


def file_name(key: str) -> str:
    """What files of the cell with this ``key`` are called, without a suffix."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def train(
    recipe: Recipe,
    data: Dataset,
    checkpoint: Path | None = None,
    *,
    deadline: float = math.inf,
    on_epoch: Callable[[Training, dict[str, Any]], None] | None = None,
    start: Mapping[str, Tensor] | None = None,
) -> Training | None:
    """The finished training; None where this process is a worker that was told to stop, or the deadline came first.

    Args:
        recipe: what to train.
        data: on the device to train on.
        checkpoint: rewritten after every epoch; where it exists the training continues from it. One that is damaged, or
            of another training, is set aside (``.damaged1`` behind its name), and the training begins anew.
        deadline: no epoch begins after it, in seconds as of :func:`time.time`.
        on_epoch: gets the training and the row of every epoch, after its checkpoint.
        start: the weights that it begins with, where its recipe asks for some.

    Raises:
        DataError: the checkpoint cannot be read, for want of a permission or the like: it stays where it is.
        LzeroError: whatever makes the training impossible.
    """
    training = _continued(recipe, data, checkpoint, start)
    while training.step < training.steps:
        if stopping() or time.time() > deadline:
            return None
        row = training.run_epoch()
        if checkpoint is not None:
            training.save(checkpoint)
        if on_epoch is not None:
            on_epoch(training, row)
    return training


def train_cell(
    cell: Cell, device: str = "cpu", folder: str | os.PathLike[str] | None = None, deadline: float = math.inf
) -> tuple[Row | None, list[Row]]:
    """Train, purge and test one cell: its row, with the message of a training that fails under ``problem``, and epochs.

    There is no row where it was told to stop, or the deadline came first.

    Args:
        cell: what to train.
        device: where to train.
        folder: where its checkpoint lies, if anywhere, beside it its rows so far, as CSV, and the weights that
            trainings begin with.
        deadline: as in :func:`train`.

    Raises:
        DataError: the data is missing or damaged.
    """
    row: Row = {"cell": cell.key, **dict(cell.labels), "data": cell.data, **of_recipe(cell.recipe)}
    row["device"] = device_name(device)
    if stopping() or time.time() > deadline:
        return None, []
    data = _data(cell.data, cell.data_dir, device)  # what is wrong with files is no finding about the cell
    checkpoint = None if folder is None else Path(folder, f"{cell.file_name}.pt")
    try:
        start = _weights(cell.recipe.start, folder)
        tell = None if folder is None else partial(_tell, cell, Path(folder, f"{cell.file_name}{PROGRESS}"))
        training = train(cell.recipe, data, checkpoint, deadline=deadline, start=start, on_epoch=tell)
        if training is None:
            return None, []
        if cell.begins_others and folder is not None:
            write_tensors(weights_path(folder, cell.file_name), training.model.state_dict())
        result = ship(training)
    except LzeroError as problem:
        words = "".join(letter if letter.isprintable() else " " for letter in str(problem)).split()
        return row | {"problem": " ".join(words)}, []
    return row | of_result(training, result), training.recorder.rows


def _weights(name: str, folder: str | os.PathLike[str] | None) -> Mapping[str, Tensor] | None:
    """What the cell of that ``name`` has left in ``folder``; None where none is asked for."""
    if not name:
        return None
    if folder is None:
        raise DataError(f"start: there is no folder in which {name} could have left its weights; pass folder")
    return read_tensors(weights_path(folder, name), set(), "delete it, and the row of its training; it is trained anew")


def _tell(cell: Cell, path: Path, training: Training, row: Row) -> None:
    """Write the rows so far, each with what it is of, for whoever watches: files of tensors are long to read."""
    named: Row = {"cell": cell.key, **dict(cell.labels), "seed": cell.recipe.seed, "total_steps": training.steps}
    Recorder(named | without_bins(epoch) for epoch in training.recorder).to_csv(path)


def _continued(recipe: Recipe, data: Dataset, checkpoint: Path | None, start: Mapping[str, Tensor] | None) -> Training:
    """The training as its checkpoint has it; from its beginning where there is none, or none that can be loaded."""
    training = Training(recipe, data, start)
    if checkpoint is None or not checkpoint.exists():
        return training
    try:
        return training.load(checkpoint)
    except DamagedError as problem:
        names = (checkpoint.with_name(f"{checkpoint.name}.damaged{number}") for number in count(1))
        aside = next(path for path in names if not path.exists())
        os.replace(checkpoint, aside)
        reason = str(problem).removesuffix(f"; {ADVICE}")
        warnings.warn(f"{reason}; it is set aside as {aside.name}, and trained anew", LzeroWarning, stacklevel=2)
        return Training(recipe, data, start)


@lru_cache(maxsize=2)
def _data(name: str, data_dir: str | None, device: str) -> Dataset:
    return load(name, data_dir).to(device)
