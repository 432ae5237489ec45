"""One run: a training that is carried out in a folder, from its checkpoint on where there is one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from lzero.certificate import Certificate
from lzero.recorder import Recorder, Row
from lzero_lab.datasets import Dataset
from lzero_lab.errors import DataError
from lzero_lab.files import write_json
from lzero_lab.runs.folder import RunFolder
from lzero_lab.training.processes import Processes
from lzero_lab.training.recipe import Recipe
from lzero_lab.training.summary import Summary, ship, summarise
from lzero_lab.training.training import Training

EpochCallback = Callable[[str, Row], None]  # (label of a training, row of an epoch)


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run: its folder, its rows, its summary and its certificate."""

    folder: RunFolder
    rows: Recorder
    summary: Summary
    certificate: Certificate


def complete(
    folder: RunFolder,
    recipe: Recipe,
    data: Dataset,
    on_epoch: EpochCallback | None = None,
    label: str = "",
    processes: Processes | None = None,
) -> Run:
    """The finished run in ``folder``: read where it is finished, continued where it broke off, trained otherwise.

    What a finished run has lost since then is made again from its checkpoint. ``on_epoch`` gets ``label`` and the row
    of every epoch that is trained. Where several ``processes`` train it this is for the first one, and :func:`assist`
    for the others, which are on their own once the training is over.

    Raises:
        DataError: a finished run has lost files, and its checkpoint with them.
        LzeroError: whatever makes the training impossible; the last checkpoint stays.
    """
    processes = processes or Processes()
    lost = folder.lost(recipe) if folder.finished else []
    if lost and not folder.checkpoint.is_file():
        raise DataError(
            f"{folder.path}: a finished run without {', '.join(lost)}, and without {folder.checkpoint.name} to make "
            f"that from; put it back, or delete {folder.summary.name} to train anew"
        )
    needed = processes.agree(bool(lost) or not folder.finished)
    training = _trained(folder, recipe, data, on_epoch, label, processes) if needed else None
    processes.leave()
    if training is not None:
        training.recorder.to_csv(folder.rows)
        result = ship(training)
        folder.write_shipped(result)
        write_json(folder.summary, summarise(training, result).to_dict())
    return Run(folder, Recorder.from_csv(folder.rows), folder.read_summary(), folder.read_certificate())


def _trained(
    folder: RunFolder,
    recipe: Recipe,
    data: Dataset,
    on_epoch: EpochCallback | None,
    label: str,
    processes: Processes,
) -> Training:
    """The training of the run in ``folder`` at its end, from its checkpoint on where there is one."""
    training = Training(recipe, data, processes=processes)
    if folder.checkpoint.is_file():
        training.load(folder.checkpoint)

    def progress(row: Row) -> None:
        training.recorder.to_csv(folder.rows)
        if on_epoch is not None:
            on_epoch(label, row)

    return training.run(progress, os.fspath(folder.checkpoint))


def assist(recipe: Recipe, data: Dataset, processes: Processes) -> None:
    """What each of the other processes does while the first one completes a run: its part of the training.

    Raises:
        LzeroError: whatever makes the training impossible.
    """
    if processes.agree(False):  # it is the first one that knows
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the first one has the same
            Training(recipe, data, processes=processes).run()
    processes.leave()
