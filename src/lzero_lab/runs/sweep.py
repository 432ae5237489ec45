"""Many budgets, many seeds, one training each: does the constraint always ship what was asked?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from lzero.cost import Measure
from lzero.recorder import Recorder
from lzero_lab.datasets import Dataset
from lzero_lab.runs.folder import RunFolder
from lzero_lab.runs.run import EpochCallback, Run, complete
from lzero_lab.training.recipe import Recipe

ROWS = "sweep.csv"


def sweep(
    recipe: Recipe,
    data: Dataset,
    path: str | os.PathLike[str],
    *,
    targets: Sequence[float],
    seeds: Sequence[int] = (0,),
    measures: Sequence[Measure] = ("params",),
    on_epoch: EpochCallback | None = None,
) -> Recorder:
    """One row for each measure, target and seed, of one constrained training each.

    Columns: ``method``, ``measure``, ``seed``; the densities ``asked``, ``before_settling`` and ``shipped``;
    ``within_one_unit``, 1 where no further unit would have fitted; ``parameters``, ``validation_error``, ``error`` (on
    the test data) of the purged model; ``seconds``; ``folder``. With ``scope="layer"``, where a target holds for
    every layer, ``before_settling`` and ``shipped`` are those of the densest layer.

    Args:
        recipe: of every training, but for target, seed and measure.
        data: what to train, validate and test on.
        path: a folder; every training has its own below it, where it is found again and not repeated. The rows so
            far are in :data:`ROWS` after every cell.
        targets, seeds, measures: the cells are all their combinations.
        on_epoch: gets the label and row of every epoch.
    """
    rows = Recorder()
    for measure, target, seed in product(measures, targets, seeds):
        cell = replace(recipe, method="constrained", target=target, measure=measure, seed=seed)
        name = f"{measure}-{target!r}-seed{seed}"
        config = {"data": data.name, "recipe": cell.to_dict()}
        with RunFolder(Path(path) / name).claim(config, resume=True) as folder:
            run = complete(folder, cell, data, on_epoch, f"{measure} {target:g}, seed {seed}")
        before, shipped = _densities(run)
        rows.append(
            method="constrained" if len(measures) == 1 else f"constrained, {measure}",
            measure=measure,
            seed=seed,
            asked=target,
            before_settling=before,
            shipped=shipped,
            within_one_unit=int(run.summary.within_one_unit),
            parameters=run.summary.parameters,
            validation_error=run.summary.validation_error,
            error=run.summary.test_error,
            seconds=run.summary.seconds,
            folder=name,
        )
        rows.to_csv(Path(path) / ROWS)
    return rows


def _densities(run: Run) -> tuple[float, float]:
    """Before and after settling, of the part that a budget holds for and that is densest."""
    certificate = run.certificate
    before, shipped = (
        max(column[name] for name in certificate.asked)
        for column in (certificate.before_settling, certificate.deployed)
    )
    return before, shipped
