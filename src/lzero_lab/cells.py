"""Many trainings into one CSV: a row a finished training, resumable, several processes at a time."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lzero.errors import LzeroError
from lzero.purge import PurgeResult
from lzero.recorder import Recorder, Row, Value
from lzero_lab import models
from lzero_lab.datasets import Dataset, load
from lzero_lab.recipe import Recipe
from lzero_lab.summary import ship, summarise
from lzero_lab.training import Training
from lzero_lab.workers import stopping, work

EPOCHS = "epochs.csv"


@dataclass(frozen=True)
class Cell:
    """One training of a study: a recipe on a data set, with the files that the data lies in."""

    data: str
    recipe: Recipe
    data_dir: str | None = None
    labels: tuple[tuple[str, str], ...] = ()  # further columns of its row

    @property
    def key(self) -> str:
        """What identifies the cell in a CSV: the data set and all of the recipe that is not a default."""
        default = Recipe().to_dict()
        changed = {name: value for name, value in self.recipe.to_dict().items() if value != default[name]}
        return f"{self.data} {json.dumps(changed, sort_keys=True)}"


def run_cells(
    cells: Sequence[Cell],
    path: str | os.PathLike[str],
    *,
    workers: int = 1,
    device: str = "cpu",
    folder: str | os.PathLike[str] | None = None,
    hours: float = math.inf,
    progress: Callable[[Row], None] | None = None,
) -> Recorder:
    """The rows of all finished ``cells``, in the CSV at ``path`` too; what it already holds is not trained again.

    The file is rewritten after every cell, so that a killed run continues where it was; an interrupted one begins no
    further epoch, and has every finished row. A training that fails is a row as well, with its message under
    ``problem``; the next run tries it again, from its last epoch where there is a ``folder``, and replaces the row.

    Args:
        cells: what to train, the most important first.
        path: the CSV, a row a cell.
        workers: how many trainings at a time, each on one CPU thread.
        device: where to train.
        folder: where checkpoints of unfinished cells lie, which continue from their last epoch, and ``epochs.csv``, a
            row a cell and epoch; without it a killed cell begins anew, as one with an unreadable checkpoint does.
        hours: no epoch begins after so many hours.
        progress: gets the row of every cell that finishes or fails.

    Raises:
        DataError: the data of a cell is missing or damaged, or what ``path`` holds is no table; no cell fails by it.
        LzeroError: a worker was killed.
    """
    done = _read(path)
    epochs_path = None if folder is None else Path(folder) / EPOCHS
    epochs = Recorder() if epochs_path is None else _read(epochs_path)

    def keep(outcome: tuple[Row | None, list[Row]]) -> None:
        nonlocal done, epochs
        row, history = outcome
        if row is None:
            return
        key = row["cell"]
        if epochs_path is not None:
            epochs = _replaced(epochs, key, [{"cell": key, **_without_histogram(epoch)} for epoch in history])
            epochs.to_csv(epochs_path)
        done = _replaced(done, key, [row])
        done.to_csv(path)
        if folder is not None and "problem" not in row:
            Path(folder, _checkpoint_name(str(key))).unlink(missing_ok=True)
        if progress is not None:
            progress(row)

    finished = {row["cell"] for row in done if "problem" not in row}
    deadline = time.time() + 3600 * hours
    tasks = [(cell, device, folder, deadline) for cell in cells if cell.key not in finished]
    work(_train, tasks, keep, workers)
    return done


def run_cell(cell: Cell) -> Row:
    """Train, purge and test one cell; its row of plain values.

    ``trained`` is the deployed density before settling, ``shipped`` that of the purged model, both of the whole model
    in the measure of the recipe. ``slack`` is asked minus shipped, the smallest over the parts of a layer-wise budget;
    ``exhausted`` is 1 where no further unit would fit. ``error`` is the purged model's on the test set at the end of
    training, ``validation_error`` on the validation set. A training that fails has its message under ``problem``.

    Raises:
        DataError: the data is missing or damaged.
    """
    row, _ = _train(cell)
    return row or {}


def _train(
    cell: Cell, device: str = "cpu", folder: str | os.PathLike[str] | None = None, deadline: float = math.inf
) -> tuple[Row | None, list[Row]]:
    """The row of a cell and those of its epochs; no row where it was told to stop, or the deadline came first."""
    row: Row = {"cell": cell.key, **dict(cell.labels), "data": cell.data, **_plain(cell.recipe)}
    if _over(deadline):
        return None, []
    data = _data(cell.data, cell.data_dir, device)  # what is wrong with files is no finding about the cell
    checkpoint = None if folder is None else Path(folder, _checkpoint_name(cell.key))
    try:
        training = _continued(cell.recipe, data, checkpoint)
        while training.step < training.steps:
            if _over(deadline):
                return None, []
            training.run_epoch()
            if checkpoint is not None:
                training.save(checkpoint)
        result = ship(training)
    except LzeroError as problem:
        return row | {"problem": " ".join(str(problem).split())}, []
    return row | _shipped(training, result), training.recorder.rows


def _over(deadline: float) -> bool:
    return stopping() or time.time() > deadline


def _continued(recipe: Recipe, data: Dataset, checkpoint: Path | None) -> Training:
    """The training as its checkpoint has it; from its beginning where there is none, or none that can be loaded."""
    training = Training(recipe, data)
    if checkpoint is None or not checkpoint.exists():
        return training
    try:
        return training.load(checkpoint)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):  # what damaged or foreign contents meet
        checkpoint.unlink(missing_ok=True)
        return Training(recipe, data)


def _shipped(training: Training, result: PurgeResult) -> Row:
    summary, certificate = summarise(training, result), result.certificate
    slack = [certificate.requested[part] - certificate.deployed[part] for part in certificate.requested]
    kept = " ".join(f"{name}={int(mask.sum())}/{mask.numel()}" for name, mask in result.kept.items())
    with torch.device("meta"):  # counted, and not computed: no weights are drawn
        whole = models.build(training.recipe.model, training.data)
    return {
        "steps": training.step,
        "seconds": summary.seconds,
        "trained": summary.trained,
        "shipped": summary.shipped,
        "slack": min(slack, default=0.0),
        "exhausted": int(summary.exhausted),
        "epochs": training.epoch,
        "shipped_macs": _flops(result.model, training.data.train_x[:1]) / _flops(whole, training.data.train_x[:1]),
        "shipped_params": certificate.parameters / certificate.parameters_before,
        "threshold": certificate.threshold,
        "moved": certificate.moved,
        "largest_difference": certificate.largest_difference or 0.0,
        "validation_error": summary.validation_error,
        "error": summary.test_error,
        **({"kept": kept} if kept else {}),
    }


def _flops(model: nn.Module, x: Tensor) -> int:
    """Operations of one example, counted by PyTorch, apart from the library's own counts."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(x.to(next(model.parameters()).device))
    return int(counter.get_total_flops())


def _read(path: str | os.PathLike[str]) -> Recorder:
    return Recorder.from_csv(path) if Path(path).exists() else Recorder()


def _replaced(table: Recorder, key: Value, rows: Sequence[Row]) -> Recorder:
    """``table`` with ``rows`` in the place of all that it has of the cell ``key``."""
    if any(row["cell"] == key for row in table):
        others = [row for row in table if row["cell"] != key]
        table = Recorder()
        for row in others:
            table.append(**row)
    for row in rows:
        table.append(**row)
    return table


def _checkpoint_name(key: str) -> str:
    return f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.pt"


def _without_histogram(row: Row) -> Row:
    return {name: value for name, value in row.items() if not name.startswith("p_")}


def _plain(recipe: Recipe) -> Row:
    return {
        "model": recipe.model,
        "method": recipe.method,
        **({} if recipe.target is None else {"asked": recipe.target}),
        "coefficient": _text(recipe.coefficient),
        "measure": recipe.measure,
        "scope": _text(recipe.scope),
        "granularity": recipe.granularity,
        "batch_size": recipe.batch_size,
        "optimizer": recipe.optimizer,
        "loss_scale": recipe.loss_scale,
        "seed": recipe.seed,
    }


def _text(value: Value | Mapping[str, float]) -> Value:
    return json.dumps(dict(value)) if isinstance(value, Mapping) else value


@lru_cache(maxsize=2)
def _data(name: str, data_dir: str | None, device: str) -> Dataset:
    return load(name, data_dir).to(device)
