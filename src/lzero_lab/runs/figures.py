"""The figures of a run folder, drawn from its CSV files alone: no model is built."""

from __future__ import annotations

import os
from pathlib import Path

from lzero import plots
from lzero.recorder import Recorder
from lzero_lab.errors import DataError
from lzero_lab.runs import compare, sweep

KINDS = ("dynamics", "control", "trade-off", "architecture", "histogram")
_ROWS, _ARCHITECTURE, _CONFIG = "rows.csv", "architecture.csv", "config.json"
# The file that says what a folder holds -> the figures that belong to it, the most important first.
_BELONGING = {compare.ROWS: ("dynamics", "trade-off"), sweep.ROWS: ("control", "trade-off"), _ROWS: ("dynamics",)}
_FURTHER = {compare.ROWS: ("control",), _ROWS: ("architecture", "histogram")}  # that can be drawn of it too
_HELD = {compare.ROWS: "a comparison", sweep.ROWS: "a sweep", _ROWS: "one training"}
# Figure -> the columns that its rows need; those of the dynamics may lack any.
_NEEDED = {
    "control": ("method", "asked", "shipped"),
    "trade-off": ("method", "shipped", "error"),
    "architecture": ("layer", "kept", "total"),
    "histogram": ("p_00",),
}


def draw_all(folder: str | os.PathLike[str]) -> list[Path]:
    """The paths of the figures that belong to ``folder``, drawn anew into it, the most important first."""
    folder = Path(folder)
    kinds = list(_BELONGING[_holds(folder)])
    if (folder / _ARCHITECTURE).is_file():  # a dense training has no gates to show
        kinds += ["architecture", "histogram"]
    return [draw(folder, folder / f"{kind}.png", kind) for kind in kinds]


def draw(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    kind: str | None = None,
    target: float | None = None,
) -> Path:
    """The path of one figure, PNG, SVG or PDF by its suffix.

    Args:
        source: the folder of a training, comparison or sweep; or a CSV with the columns that the figure needs.
        output: where the figure goes.
        kind: one of :data:`KINDS`; the most important one of the folder if left out, dynamics for a CSV.
        target: the density of the line in the dynamics; what the rows say if left out.

    Raises:
        DataError: no such kind, or a folder that holds no run.
        RecordError: no rows to draw, or rows that lack the columns of this figure.
    """
    source = Path(source)
    kind = kind or default_kind(source)
    _check(source, kind)
    if kind == "dynamics":
        runs = _runs(source)
        if target is None:
            target = next((float(row["target"]) for rows in runs.values() for row in rows if "target" in row), None)
        # In the loss's units: the one scale on which a constraint's multiplier and a penalty's coefficient compare.
        figure, _ = plots.dynamics(
            runs,
            target,
            multiplier="multiplier_loss_units",
            error_label="validation error" if _ours(source) else "error",
        )
    elif kind == "control":
        figure, _ = plots.control([row for row in _table(source) if "asked" in row])
    elif kind == "trade-off":
        # A grid search ships one of the penalized models: its point is there already.
        figure, _ = plots.trade_off([row for row in _table(source) if row.get("method") != compare.GRID_SEARCH])
    elif kind == "architecture":
        figure, _ = plots.architecture(Recorder.from_csv(source / _ARCHITECTURE) if source.is_dir() else _table(source))
    else:
        figure, _ = plots.gate_histogram(_table(source))
    return plots.save(figure, output)


def default_kind(source: str | os.PathLike[str]) -> str:
    """The most important figure of a run folder; dynamics for a CSV."""
    return _BELONGING[_holds(Path(source))][0] if Path(source).is_dir() else "dynamics"


def _holds(folder: Path) -> str:
    """The name of the CSV that says what ``folder`` is."""
    for name in _BELONGING:
        if (folder / name).is_file():
            return name
    raise DataError(f"{folder}: nothing to draw; expected {', '.join(_BELONGING)}, as lzero writes them")


def _check(source: Path, kind: str) -> None:
    """Raise where ``source`` has no figure of this kind, in words of the command line."""
    if kind not in KINDS:
        raise DataError(f"figure: no kind is called {kind!r}; there are: {', '.join(KINDS)}")
    if source.is_dir():
        held = _holds(source)
        able = (*_BELONGING[held], *_FURTHER.get(held, ()))
        if kind not in able:
            raise DataError(
                f"{source}: holds {_HELD[held]}, of which there is no figure of the kind {kind}; choose one of "
                f"{', '.join(able)}, or another folder"
            )
    if source.is_dir() and kind == "architecture":
        if not (source / _ARCHITECTURE).is_file():
            raise DataError(
                f"{source}: a training without gates, or not finished, has no {_ARCHITECTURE} to draw; choose another "
                "--kind, or bring it to its end with --resume"
            )
        return
    columns = _table(source).columns
    missing = [name for name in _NEEDED.get(kind, ()) if name not in columns]
    if missing:
        raise DataError(
            f"{source}: a figure of the kind {kind} needs the columns {', '.join(_NEEDED[kind])}, and there is no "
            f"{', '.join(missing)} among {', '.join(columns) or 'none'}; name another CSV, or another --kind"
        )


def _ours(source: Path) -> bool:
    """Whether the rows are those of a training of the command line, whose errors are of the validation set."""
    return source.is_dir() or (source.parent / _CONFIG).is_file()


def _table(source: Path) -> Recorder:
    return Recorder.from_csv(source / _holds(source) if source.is_dir() else source)


def _runs(source: Path) -> dict[str, Recorder]:
    """Label -> rows, for every training in ``source``."""
    if source.is_dir() and _holds(source) == compare.ROWS:
        return compare.compared(source)
    name = Path(os.path.realpath(source)).name.removesuffix(".csv")
    return {name.encode("utf-8", "backslashreplace").decode(): _table(source)}  # any bytes may be a name, not a text
