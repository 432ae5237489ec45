"""Many trainings into one CSV: a row a finished training, resumable, several processes at a time."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from lzero.errors import LzeroError
from lzero.experiments.datasets import Dataset, load
from lzero.experiments.recipe import Recipe
from lzero.experiments.summary import ship, summarise
from lzero.experiments.training import Training, quicken
from lzero.recorder import Recorder, Row


@dataclass(frozen=True)
class Cell:
    """One training of a study: a recipe on a data set, with the files that the data lies in."""

    data: str
    recipe: Recipe
    data_dir: str | None = None

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
    progress: Callable[[Row], None] | None = None,
) -> Recorder:
    """The rows of all ``cells``, in the CSV at ``path`` too; cells that it already holds are not trained again.

    The file is rewritten after every cell, so that a killed run continues where it was. A training that fails is a row
    as well, with its message under ``problem``.
    """
    done = Recorder.from_csv(path) if Path(path).exists() else Recorder()
    finished = {row["cell"] for row in done}
    waiting = [cell for cell in cells if cell.key not in finished]
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_one_thread) as pool:
        for future in as_completed([pool.submit(run_cell, cell) for cell in waiting]):
            row = future.result()
            done.append(**row)
            done.to_csv(path)
            if progress is not None:
                progress(row)
    return done


def run_cell(cell: Cell) -> Row:
    """Train, purge and test one cell; its row of plain values.

    ``trained`` is the deployed density before settling, ``shipped`` that of the purged model, both of the whole model
    in the measure of the recipe. ``slack`` is asked minus shipped, the smallest over the parts of a layer-wise budget;
    ``exhausted`` is 1 where no further unit would fit. ``error`` is the purged model's on the test set at the end of
    training, ``validation_error`` on the validation set.
    """
    recipe = cell.recipe
    row: Row = {"cell": cell.key, "data": cell.data, **_plain(recipe)}
    data = _data(cell.data, cell.data_dir)
    try:
        training = Training(recipe, data).run()
        result = ship(training)
    except LzeroError as problem:
        return row | {"problem": " ".join(str(problem).split())}
    summary, certificate = summarise(training, result), result.certificate
    slack = [certificate.requested[part] - certificate.deployed[part] for part in certificate.requested]
    return row | {
        "steps": training.step,
        "seconds": summary.seconds,
        "trained": summary.trained,
        "shipped": summary.shipped,
        "slack": min(slack, default=0.0),
        "exhausted": int(summary.exhausted),
        "shipped_params": certificate.parameters / certificate.parameters_before,
        "threshold": certificate.threshold,
        "moved": certificate.moved,
        "largest_difference": certificate.largest_difference or 0.0,
        "validation_error": summary.validation_error,
        "error": summary.test_error,
        "kept": " ".join(f"{name}={int(mask.sum())}/{mask.numel()}" for name, mask in result.kept.items()),
    }


def _plain(recipe: Recipe) -> Row:
    return {
        "model": recipe.model,
        "method": recipe.method,
        "asked": recipe.target if recipe.target is not None else "",
        "coefficient": recipe.coefficient,
        "measure": recipe.measure,
        "scope": recipe.scope if isinstance(recipe.scope, str) else json.dumps(dict(recipe.scope)),
        "granularity": recipe.granularity,
        "batch_size": recipe.batch_size,
        "optimizer": recipe.optimizer,
        "loss_scale": recipe.loss_scale,
        "seed": recipe.seed,
    }


@lru_cache(maxsize=2)
def _data(name: str, data_dir: str | None) -> Dataset:
    return load(name, data_dir)


def _one_thread() -> None:
    torch.set_num_threads(1)
    quicken()
