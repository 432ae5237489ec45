"""Many trainings into one CSV: a row a finished training, resumable, several processes at a time."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from lzero.errors import RecordError
from lzero.recorder import Recorder, Row, Value
from lzero_lab.errors import DataError
from lzero_lab.studies.cell import PROGRESS, Cell, file_name, train_cell, weights_path
from lzero_lab.studies.cluster import Cluster
from lzero_lab.studies.row import without_bins
from lzero_lab.studies.workers import run_tasks

EPOCHS = "epochs.csv"
_PROGRESS_FILE = re.compile(rf"[0-9a-f]{{16}}{re.escape(PROGRESS)}")


def run_cells(
    cells: Sequence[Cell],
    path: str | os.PathLike[str],
    *,
    workers: int = 1,
    cluster: Cluster | None = None,
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
        cluster: who trains, in the place of ``workers`` on this machine; all of them see the ``folder``, and the data.
        device: where to train.
        folder: where checkpoints of unfinished cells lie, which continue from their last epoch, and ``epochs.csv``, a
            row a cell and epoch; without it a killed cell begins anew, as one with an unreadable checkpoint does.
        hours: no epoch begins after so many hours.
        progress: gets the row of every cell that finishes or fails.

    Raises:
        DataError: the data of a cell is missing or damaged; no cell fails by it. A cluster without a folder, or with a
            worker that cannot take part.
        RecordError: what ``path`` holds is no table.
        LzeroError: a worker was killed, of a cluster several under one cell.
    """
    if cluster is not None:
        if folder is None:
            raise DataError("cluster: its workers leave what they train in a folder that all of them see; pass folder")
        folder = os.path.abspath(folder)
        cells = [
            cell if cell.data_dir is None else replace(cell, data_dir=os.path.abspath(cell.data_dir)) for cell in cells
        ]
    table = CellTable(path, folder)

    def keep(outcome: tuple[Row | None, list[Row]]) -> None:
        row, epochs = outcome
        if row is None:
            return
        table.keep(row, epochs)
        if progress is not None:
            progress(row)

    deadline = time.time() + 3600 * hours
    left = with_sources(table.unfinished(cells), cells, folder)
    tasks = [(cell, device, folder, deadline) for cell in left]
    if cluster is None or folder is None:
        run_tasks(train_cell, tasks, keep, workers, lambda task: can_begin(task[0], folder))
    elif tasks:
        cluster.run(train_cell, tasks, keep, folder, device, lambda task: can_begin(task[0], folder))
    return table.rows


def with_sources(left: Sequence[Cell], cells: Sequence[Cell], folder: str | os.PathLike[str] | None) -> list[Cell]:
    """Those ``left``, behind finished ones of the ``cells`` whose weights they begin with, where these are lost.

    Raises:
        DataError: weights that are not there, and that none of the cells leaves.
    """
    wanted = {cell.recipe.start: cell for cell in left if not can_begin(cell, folder)}
    sources = {cell.file_name: cell for cell in cells if cell.begins_others}
    for name, cell in wanted.items():
        if name not in sources:
            raise DataError(
                f"{dict(cell.labels).get('label', cell.key)}: the weights that it begins with are not in {folder}; "
                "train what leaves them too"
            )
    finished = [cell for name, cell in sources.items() if name in wanted and cell not in left]
    return [*finished, *left]


def can_begin(cell: Cell, folder: str | os.PathLike[str] | None) -> bool:
    """Whether the weights are there that ``cell`` begins with, if any."""
    return not cell.recipe.start or (folder is not None and weights_path(folder, cell.recipe.start).exists())


class CellTable:
    """The CSV of a study, a row a cell, and beside it what belongs to cells that are not finished.

    Args:
        path: the CSV; it is read where it exists, and rewritten after every row.
        folder: where checkpoints lie, and :data:`EPOCHS`, a row a cell and epoch.

    Attributes:
        rows: what the CSV holds.

    Raises:
        RecordError: a file that holds no table.
    """

    def __init__(self, path: str | os.PathLike[str], folder: str | os.PathLike[str] | None = None) -> None:
        self._path, self._folder = Path(path), None if folder is None else Path(folder)
        self.rows = _read(self._path)
        self._epochs = Recorder() if self._folder is None else _read(self._folder / EPOCHS)

    def unfinished(self, cells: Sequence[Cell]) -> list[Cell]:
        """Those of the ``cells`` that have no row, or one with a problem, each once."""
        finished = {row["cell"] for row in self.rows if "problem" not in row}
        return list({cell.key: cell for cell in cells if cell.key not in finished}.values())

    def keep(self, row: Row, epochs: Sequence[Row] = ()) -> None:
        """Write the ``row`` of a cell, named by its entry ``cell``, in the place of an older one.

        Its checkpoint and its rows so far are removed where it is finished. The rows of its ``epochs`` go first, so
        that a crash between the two files trains the cell again and has every epoch once.
        """
        key = row["cell"]
        if self._folder is not None:
            self._epochs = _replaced(self._epochs, key, [{"cell": key, **without_bins(epoch)} for epoch in epochs])
            self._epochs.to_csv(self._folder / EPOCHS)
        self.rows = _replaced(self.rows, key, [row])
        self.rows.to_csv(self._path)
        if self._folder is not None and "problem" not in row:
            for suffix in (".pt", PROGRESS):
                (self._folder / f"{file_name(str(key))}{suffix}").unlink(missing_ok=True)


def begun(folder: str | os.PathLike[str]) -> list[Recorder]:
    """The rows so far of each training in ``folder`` that has no end yet: ``label``, ``budget``, ``total_steps``, ...

    The one that was at work last comes first.
    """
    found: list[tuple[float, Recorder]] = []
    for name in os.listdir(folder):
        path = Path(folder, name)
        try:
            if _PROGRESS_FILE.fullmatch(name):
                found.append((path.stat().st_mtime, Recorder.from_csv(path)))
        except (OSError, RecordError):
            if path.exists():  # otherwise that training has just come to its end
                raise
    return [rows for _, rows in sorted(found, key=lambda pair: -pair[0])]


def _read(path: Path) -> Recorder:
    return Recorder.from_csv(path) if path.exists() else Recorder()


def _replaced(table: Recorder, key: Value, rows: Sequence[Row]) -> Recorder:
    """``table`` with ``rows`` in the place of all that it has of the cell ``key``."""
    return Recorder([*(row for row in table if row["cell"] != key), *rows])
