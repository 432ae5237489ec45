"""How long the trainings of a study will take: from finished rows or short trials, laid out over its workers."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import zip_longest
from statistics import mean
from typing import Any, NamedTuple

import torch

from lzero.errors import LzeroError
from lzero.recorder import Row
from lzero_lab.datasets import Dataset
from lzero_lab.studies.cell import Cell, train
from lzero_lab.studies.row import device_name
from lzero_lab.studies.workers import run_tasks
from lzero_lab.training.recipe import Recipe
from lzero_lab.training.training import Training

# Images of a data set: training examples and shape.
IMAGES: Mapping[str, tuple[int, tuple[int, int, int]]] = {
    "digits": (1_100, (1, 8, 8)),
    "mnist": (55_000, (1, 28, 28)),
    "fashion-mnist": (55_000, (1, 28, 28)),
    "cifar10": (45_000, (3, 32, 32)),
}
_BATCHES = 8  # an epoch of a trial
_ENDLESS = 1 << 40  # steps


class Kind(NamedTuple):
    """What the time of a step depends on."""

    model: str
    label: str
    batch_size: int


@dataclass(frozen=True)
class Pace:
    """Seconds that a training of some kind takes: ``setup`` before its first step, ``step`` for each.

    They are those of a training beside as many others as there are workers.
    """

    setup: float
    step: float


def kind(cell: Cell) -> Kind:
    """The kind of a cell."""
    return Kind(cell.recipe.model, dict(cell.labels).get("label", ""), cell.recipe.batch_size)


def steps(cell: Cell) -> int:
    """How many steps the training of a cell has."""
    examples, _ = IMAGES[cell.data]
    return cell.recipe.steps or cell.recipe.epochs * -(-examples // cell.recipe.batch_size)


def paces_of(rows: Iterable[Row], device: str) -> dict[Kind, Pace]:
    """What finished ``rows`` took on ``device``, by kind, the mean over them; a row that names none is of a CPU."""
    seconds: dict[Kind, list[float]] = {}
    for row in rows:
        if "seconds" in row and row.get("device", "cpu") == device_name(device) and float(row["steps"]) > 0:
            of = Kind(str(row["model"]), str(row.get("label", "")), int(row["batch_size"]))
            seconds.setdefault(of, []).append(float(row["seconds"]) / float(row["steps"]))
    return {of: Pace(0.0, mean(found)) for of, found in seconds.items()}


def measured(cells: Sequence[Cell], device: str, workers: int, seconds: float) -> dict[Kind, Pace]:
    """What steps of the kinds of ``cells`` take, on noise of the shape of their images, with all workers at work.

    Args:
        cells: what to try, a worker each, networks by turns; none of a kind twice while there is another one.
        device: where.
        workers: how many side by side.
        seconds: how long in all, setting up included, and longer where that takes most of it; the last third counts.
    """
    networks: dict[str, dict[Kind, Cell]] = {}
    for cell in cells:
        if not cell.recipe.start:
            networks.setdefault(cell.recipe.model, {}).setdefault(kind(cell), cell)
    turns = zip_longest(*(kinds.values() for kinds in networks.values()))
    different = [cell for turn in turns for cell in turn if cell is not None][:workers]
    tried = [different[number % len(different)] for number in range(workers if different else 0)]
    found: dict[Kind, list[Pace]] = {}

    def keep(outcome: tuple[Kind, Pace | None]) -> None:
        if outcome[1] is not None:
            found.setdefault(outcome[0], []).append(outcome[1])

    until = time.time() + seconds
    run_tasks(trial, [(cell, device, until - seconds / 3, until) for cell in tried], keep, workers)
    return {of: Pace(mean(p.setup for p in all_), mean(p.step for p in all_)) for of, all_ in found.items()}


def trial(cell: Cell, device: str, since: float, until: float) -> tuple[Kind, Pace | None]:
    """The pace of a cell's kind: its steps between two times, those of :func:`time.time`; None where it made none.

    Where it comes to its first steps late, it goes on for as long.
    """
    recipe = replace(cell.recipe, steps=_ENDLESS)
    seen: list[tuple[float, int]] = []

    def look(training: Training, row: dict[str, Any]) -> None:
        seen.append((time.time(), training.step))
        if len(seen) > 1 and seen[-1][0] > max(until, seen[0][0] + until - since):
            raise _Enough

    started = time.time()
    with suppress(LzeroError, _Enough):  # noise may make a loss infinite; what was seen until then counts
        train(recipe, noise(recipe, cell.data, device), on_epoch=look)
    if len(seen) < 2:
        return kind(cell), None
    late = [moment for moment in seen if moment[0] >= since]
    (first, before), (last, after) = (late if len(late) > 1 else seen)[0], seen[-1]
    step = (last - first) / (after - before)
    return kind(cell), Pace(max(0.0, seen[0][0] - started - seen[0][1] * step), step)


class _Enough(Exception):
    pass


def noise(recipe: Recipe, data: str, device: str) -> Dataset:
    """Images at random of the shape of those of ``data``, a few batches of them."""
    _, shape = IMAGES[data]
    x = torch.randn(_BATCHES * recipe.batch_size, *shape, device=device)
    y = torch.arange(len(x), device=device) % 10
    few = slice(recipe.batch_size)
    return Dataset(data, x, y, x[few], y[few], x[few], y[few])


def known(cells: Iterable[Cell], paces: Mapping[Kind, Pace]) -> list[float] | None:
    """Seconds of each of the ``cells``; None where nothing of the network of one of them has a pace.

    A kind without a pace takes the mean over those of its network.
    """
    found = []
    for cell in cells:
        of = kind(cell)
        chosen = [paces[of]] if of in paces else [pace for other, pace in paces.items() if other.model == of.model]
        if not chosen:
            return None
        found.append(mean(pace.setup for pace in chosen) + steps(cell) * mean(pace.step for pace in chosen))
    return found


def laid_out(seconds: Sequence[float], workers: int) -> list[float]:
    """When each of the trainings ends, in the order in which workers take them up, each as soon as it is free."""
    free = [0.0] * workers
    ends = []
    for one in seconds:
        ends.append(heapq.heappop(free) + one)
        heapq.heappush(free, ends[-1])
    return ends
