"""Looking at a path: a run folder, the folder of a comparison, a sweep or a study, or a CSV of rows."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lzero.errors import LzeroError
from lzero.recorder import Recorder, Row
from lzero_lab.errors import DataError
from lzero_lab.lock import holder
from lzero_lab.runs.folder import RunFolder
from lzero_lab.studies.cells import begun
from lzero_lab.studies.report import CELLS
from lzero_lab.watching.watched import Several, Watched

_FRESH = 60.0  # seconds since the last row, within which rows that nobody has a lock for count as being written
_CLOCKS = ("epoch", "step", "seconds", "total_steps")  # columns that tell the time


def look(path: str | os.PathLike[str]) -> Watched | Several:
    """What lies at ``path`` just now: a run folder of the command line, the folder of a study, or a CSV of rows.

    Raises:
        DataError: nothing of that kind is there.
        RecordError: a CSV that is none.
    """
    place = Path(path)
    if place.is_file():
        return _rows_alone(place)
    folder = RunFolder(place)
    if folder.config.is_file():
        config = folder.read_config()
        command = config.get("command", "train")
        return _training(folder, config) if command == "train" else _several(place, config, str(command))
    if (place / CELLS).is_file() or (place.is_dir() and begun(place)):
        return _study(place)
    if folder.rows.is_file():
        return _rows_alone(folder.rows)
    raise DataError(f"{place}: nothing to watch; expected a run folder of lzero, that of a study, or a CSV of rows")


def _rows_alone(path: Path) -> Watched:
    """The rows of somebody's own loop."""
    rows, age = _numbers(Recorder.from_csv(path)), _age(path)
    total = _total(rows)
    done = bool(total and rows and float(rows[-1].get("step", 0)) >= total)
    state = "finished" if done else "training" if age < _FRESH else "unknown"
    return Watched(path.name, state if rows else "waiting", rows, total, age=age)


def _training(folder: RunFolder, config: Mapping[str, Any]) -> Watched:
    who = holder(folder.path) or ""
    rows = _numbers(Recorder.from_csv(folder.rows)) if folder.rows.is_file() else []
    ends: Mapping[str, Any] | None = None
    if folder.finished:
        try:
            ends = folder.read_summary().to_dict()
        except LzeroError as problem:
            ends = {"problem": str(problem)}
    state = "finished" if ends is not None else ("training" if rows else "waiting") if who else "stopped"
    return Watched(
        name=folder.path.name,
        state=state,
        rows=rows,
        total_steps=_total_steps(config.get("recipe"), rows),
        who=who,
        age=_age(folder.rows),
        about=_about(config),
        ends=ends,
    )


def _several(place: Path, config: Mapping[str, Any], command: str) -> Several:
    who = holder(place) or ""
    inside = [RunFolder(entry) for entry in place.iterdir() if (entry / "config.json").is_file()]
    inside.sort(key=lambda folder: folder.config.stat().st_mtime)
    asked = [config[name] for name in ("targets", "seeds", "measures") if isinstance(config.get(name), list)]
    total = math.prod(map(len, asked)) if command == "sweep" and asked else None
    trainings = [_training(folder, folder.read_config()) for folder in inside]
    return Several(place.name, command, trainings, total, who)


def _study(place: Path) -> Several:
    who = holder(place) or ""
    rows = Recorder.from_csv(place / CELLS).rows if (place / CELLS).is_file() else []
    ended = {row.get("cell") for row in rows if "problem" not in row}
    open_ = [progress.rows for progress in begun(place)]
    trainings = [
        Watched(_name(epochs[-1]), "training" if who else "stopped", _numbers(epochs), _total(_numbers(epochs)), who)
        for epochs in open_
        if epochs and epochs[-1].get("cell") not in ended
    ]
    for row in reversed(rows):
        if "problem" in row:
            trainings.append(Watched(_name(row), "failed", [], ends=row))
        else:
            trainings.append(Watched(_name(row), "finished", [row], ends={**row, "test_error": row.get("error")}))
    return Several(place.name, "study", trainings, None, who)


def _numbers(rows: Iterable[Row]) -> list[Row]:
    """The rows without what is no number: a loop may write whatever it likes into a column of that name."""
    return [{name: value for name, value in row.items() if _is_number(name, value)} for row in rows]


def _is_number(name: str, value: object) -> bool:
    try:
        return isinstance(value, int | float) and (math.isfinite(value) or name not in _CLOCKS)
    except OverflowError:  # a whole number beyond all floats
        return False


def _total(rows: Sequence[Row]) -> int | None:
    """Steps of the whole training, where its rows say so."""
    return next((int(row["total_steps"]) for row in rows if float(row.get("total_steps", 0)) >= 1), None)


def _name(row: Row) -> str:
    return f"{row.get('label', row.get('model', 'training'))}, {row.get('budget', '')}, seed {row.get('seed', 0)}"


def _total_steps(recipe: object, rows: Sequence[Row]) -> int | None:
    """Steps of the whole training, where the recipe says so; of epochs once one of them is over."""
    if not isinstance(recipe, Mapping):
        return None
    if isinstance(recipe.get("steps"), int):
        return int(recipe["steps"])
    first = next((row for row in rows if row.get("epoch") and row.get("step")), None)
    if first is None or not isinstance(recipe.get("epochs"), int):
        return None
    return round(float(first["step"]) / float(first["epoch"]) * int(recipe["epochs"]))


def _about(config: Mapping[str, Any]) -> str:
    """What is trained, in a few words: ``"mlp on digits, constrained"``."""
    recipe = config.get("recipe")
    known = recipe if isinstance(recipe, Mapping) else {}
    return f"{known.get('model', 'a network')} on {config.get('data', 'data')}, {known.get('method', 'training')}"


def _age(path: Path) -> float:
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return 0.0
