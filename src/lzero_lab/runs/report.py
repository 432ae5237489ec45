"""What a run folder holds, as the content of a report: a training, a comparison or a sweep."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import nn

from lzero.errors import LzeroWarning
from lzero.front import front
from lzero.latency.timer import Timer, processor
from lzero.plots.table import numbers
from lzero.purge import PurgeResult
from lzero.recorder import Recorder, Row
from lzero.report import Content, Timing
from lzero.report.words import percent
from lzero.table import Layer, Table
from lzero_lab import models
from lzero_lab.datasets import Dataset
from lzero_lab.errors import DataError
from lzero_lab.files import read_json
from lzero_lab.runs import compare, sweep
from lzero_lab.runs.folder import RunFolder
from lzero_lab.training.evaluation import error
from lzero_lab.training.recipe import Recipe
from lzero_lab.training.summary import ship
from lzero_lab.training.training import Training

_BATCHES = (1, 32)
_READINGS, _SECONDS = 31, 1.0  # of each forward, at most
_ADVICE = "delete it: the report does without"
_FRONT, _STUDY = "front.csv", "cells.csv"
_PLACES = {"data_dir"}  # where something lies is no part of what was computed
_ERRORS = "validation error"  # of rows: the test set is for what is shipped
_MEASURES = {"params": "parameters", "macs": "MACs", "gates": "gates"}


def of_training(
    folder: RunFolder, recipe: Recipe, data: Dataset | None = None, densities: Sequence[float] = ()
) -> Content:
    """One training, finished or not, as its files and its last checkpoint have it.

    Args:
        folder: of the training.
        recipe: of its config.
        data: with it the training is built from its checkpoint: layers with parameters and MACs, errors and times of
            forwards before and after are then part of the content. Without, what the files hold.
        densities: of the parameters, to cut the trained network at; its validation error at each is told too.

    Raises:
        DataError: the folder has neither rows nor a checkpoint yet, or a checkpoint that does not fit.
    """
    rows = Recorder.from_csv(folder.rows).rows if folder.rows.is_file() else []
    if not rows and not folder.checkpoint.is_file():
        raise DataError(f"{folder.path}: no epoch of this run is recorded yet; continue it with --resume")
    config = folder.read_config()
    shared: dict[str, Any] = {
        "title": f"{recipe.model} on {config['data']}",
        "subtitle": in_words(recipe),
        "rows": rows,
        "configuration": _shown(config),
        "error_label": _ERRORS,
    }
    unfinished = [] if folder.finished else [_unfinished(rows, recipe)]
    if data is None or not folder.checkpoint.is_file():
        return Content(**shared, **_of_files(folder), notes=unfinished)

    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always", LzeroWarning)
        training = Training(recipe, data).load(folder.checkpoint)
    result = ship(training)
    test = error(result.model, training.data.test_x, training.data.test_y)
    validation = error(result.model, training.data.validation_x, training.data.validation_y)
    points: Sequence[Row] = ()
    if densities and training.gates is not None:
        cut = front(
            training.model,
            densities,
            lambda model: error(model, training.data.validation_x, training.data.validation_y),
        )
        points = [{**row, "validation_error": row["evaluation"]} for row in cut.rows]
        points = [{name: value for name, value in row.items() if name != "evaluation"} for row in points]
    return Content(
        **shared | {"rows": training.recorder.rows},
        certificate=result.certificate,
        layers=result.layers,
        results={"Test error": percent(test), "Validation error": percent(validation)},
        timings=_timings(training, result, config["data"]),
        timed_on=f"this machine ({processor()}): the shortest of up to {_READINGS} readings, in turns",
        points=points,
        notes=unfinished,
        warnings=[str(warning.message) for warning in given if issubclass(warning.category, LzeroWarning)],
    )


def of_folder(path: str | os.PathLike[str]) -> Content:
    """A comparison, a sweep, or the rows of a front, from its files alone.

    Raises:
        DataError: the folder holds neither.
    """
    path = Path(path)
    if (path / compare.ROWS).is_file():
        return _of_comparison(path)
    for name in (sweep.ROWS, _FRONT):
        if (path / name).is_file():
            rows = Recorder.from_csv(path / name).rows
            kind = "Sweep" if name == sweep.ROWS else "One training, cut at other budgets"
            return Content(**_of_config(path, kind), points=rows, notes=_doubts(rows))
    if (path / _STUDY).is_file():
        raise DataError(
            f"{path}: holds a study, whose page is table.md and whose figures lie beside it (lzero study writes them); "
            "name the folder of a training, a comparison or a sweep"
        )
    names = ", ".join(("config.json", compare.ROWS, sweep.ROWS, _FRONT))
    raise DataError(f"{path}: nothing to report; expected {names}, as lzero writes them")


def in_words(recipe: Recipe) -> str:
    """What was asked of a training, on one line."""
    noun = _MEASURES.get(recipe.measure, recipe.measure)
    if recipe.method == "dense":
        asked = "dense, without gates"
    elif isinstance(recipe.scope, Mapping):
        asked = "asked for " + ", ".join(f"{target:.3g} of {place}" for place, target in recipe.scope.items())
    elif recipe.target is not None:
        where = " of every gated layer" if recipe.scope == "layer" else ""
        asked = f"asked for at most {100 * recipe.target:.4g} % of the {noun}{where}"
    else:
        asked = "with a fixed penalty, without a budget"
    length = f"{recipe.steps} steps" if recipe.steps else f"{recipe.epochs} epochs"
    return f"{recipe.method}, {asked}; {length}, seed {recipe.seed}"


def _unfinished(rows: Sequence[Row], recipe: Recipe) -> str:
    done = f"{int(rows[-1]['epoch'])} of {recipe.epochs} epochs" if rows and not recipe.steps else f"{len(rows)} epochs"
    return (
        f"This run is not finished: {done} are recorded. What is said of the purged model is what a purge at this "
        "point would ship; lzero train --resume goes on."
    )


def _of_files(folder: RunFolder) -> dict[str, Any]:
    """What a training has written of its purged model."""
    found: dict[str, Any] = {}
    if folder.certificate.is_file():
        found["certificate"] = folder.read_certificate()
    if folder.architecture.is_file():
        rows = Recorder.from_csv(folder.architecture)
        layers = [Layer(str(row["layer"]), 0, 0, 0, 0, int(row["total"]), int(row["kept"])) for row in rows]
        found["layers"] = Table(tuple(layers), (), 0, 0)  # the file counts units alone
    if folder.finished:
        summary = folder.read_summary()
        found["results"] = {
            "Test error": percent(summary.test_error),
            "Validation error": percent(summary.validation_error),
        }
    return found


def _of_comparison(path: Path) -> Content:
    rows = Recorder.from_csv(path / compare.ROWS).rows
    folders = [str(row["folder"]) for row in rows if row.get("method") == "constrained"]
    constrained = RunFolder(path / folders[0]) if folders else None
    own = {} if constrained is None else _of_files(constrained)
    runs = compare.compared(path)
    return Content(
        **_of_config(path, "Comparison") | own,
        rows=runs["constrained"].rows if "constrained" in runs else [],
        runs={label: recorder.rows for label, recorder in runs.items()},
        points=[row for row in rows if row.get("method") != compare.GRID_SEARCH],
        notes=["Certificate, layers, errors and gates are those of the constrained training."] if own else [],
    )


def _of_config(path: Path, kind: str) -> dict[str, Any]:
    config = read_json(path / "config.json", set(), _ADVICE) if (path / "config.json").is_file() else {}
    recipe = config.get("recipe")
    on = f": {recipe.get('model')} on {config.get('data')}" if isinstance(recipe, dict) else ""
    return {"title": f"{kind}{on}", "configuration": _shown(config), "error_label": _ERRORS}


def _doubts(rows: Sequence[Row]) -> list[str]:
    both = [row for row in rows if "asked" in row and "shipped" in row]
    above = numbers(both, "shipped") > numbers(both, "asked")
    return [f"{above.sum()} of {len(rows)} models ship more than they were asked for."] if above.any() else []


def _shown(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in _PLACES}


def _timings(training: Training, result: PurgeResult, name: str) -> list[Timing]:
    """Forwards of the network that the training began with, and of what is shipped, in turns."""
    x = training.data.train_x
    whole: nn.Module = models.build(training.recipe.model, training.data).to(x.device)
    whole.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as the trained one
    found = []
    for batch in _BATCHES:
        images = x[:batch]
        images = images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images
        calls = [partial(model.eval(), images) for model in (whole, result.model)]
        with torch.no_grad():
            before, after = Timer(x.device, perf_counter).each(calls, _READINGS, warmup=3, most=_SECONDS)
        found.append(Timing(f"batch {batch} of {name}", 1e3 * before, 1e3 * after))
    return found
