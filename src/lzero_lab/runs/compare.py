"""One density, three ways to it: a constraint, a grid of penalties, and bisection on the penalty."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lzero.baselines.bisection import Bisection, bisect_coefficient
from lzero.errors import BudgetError
from lzero.recorder import Recorder
from lzero_lab.datasets import Dataset
from lzero_lab.runs.folder import RunFolder
from lzero_lab.runs.run import EpochCallback, Run, complete
from lzero_lab.training.recipe import Recipe

GRID = (0.01, 0.1, 1.0, 10.0)
ROWS = "comparison.csv"
GRID_SEARCH = "grid search"


@dataclass(frozen=True, eq=False)
class Comparison:
    """What each way shipped and how many trainings it needed.

    Attributes:
        rows: one row a way: ``method``, ``coefficient``, ``trainings``, ``seconds`` (of all of them), ``asked``,
            ``before_settling`` and ``shipped`` (density before and after), ``parameters``, and of the purged model
            ``validation_error`` and ``error`` (on the test data). ``folder`` is where its training lies.
        runs: label -> rows of the trainings worth a line in a figure: constrained, the grid, the end of the bisection.
        bisection: every coefficient that was tried.
    """

    rows: Recorder
    runs: Mapping[str, Recorder]
    bisection: Bisection


def compare(
    recipe: Recipe,
    data: Dataset,
    path: str | os.PathLike[str],
    *,
    grid: Sequence[float] = GRID,
    tolerance: float = 0.01,
    max_trainings: int = 16,
    on_epoch: EpochCallback | None = None,
) -> Comparison:
    """The ways to ``recipe.target`` side by side, all with the recipe's model, data, epochs and seed.

    ``constrained``: one training. ``penalized``: one a coefficient of ``grid``, and ``grid search``: the one among them
    that one would choose, as :func:`choose` says. ``bisection`` on the coefficient, until the shipped density lies
    within ``tolerance`` of the target. ``dense``: no gates, for reference. Finished trainings below ``path`` are read
    and not repeated, but count.

    Args:
        recipe: of the constrained training, with a target for the whole model.
        data: what to train, validate and test on.
        path: a folder; every training has its own below it, and the rows are written to :data:`ROWS` in it.
        grid: coefficients of the penalty.
        tolerance: how close to the target bisection has to come.
        max_trainings: where bisection gives up.
        on_epoch: gets the label and row of every epoch.

    Raises:
        BudgetError: no single target for the whole model, or an empty grid.
    """
    target = recipe.target
    if recipe.method != "constrained" or recipe.scope != "model" or target is None:
        raise BudgetError("compare: expected a constrained recipe with one target for the whole model")
    if not grid:
        raise BudgetError("compare: the grid has no coefficient; give at least one, such as 0.1")
    trainings = _Trainings(recipe, data, Path(path), on_epoch)
    constrained = trainings.constrained()
    dense = trainings.dense()
    penalized = {coefficient: trainings.penalized(coefficient) for coefficient in sorted(set(grid))}
    found = bisect_coefficient(
        lambda coefficient: trainings.penalized(coefficient, "bisection").summary.shipped,
        target,
        tolerance=tolerance,
        max_trainings=max_trainings,
    )
    bisected = {coefficient: trainings.penalized(coefficient) for coefficient, _ in found.trainings}

    rows = Recorder()
    _append(rows, "constrained", [constrained], constrained, target)
    for coefficient, run in penalized.items():
        _append(rows, "penalized", [run], run, None, coefficient)
    chosen = choose(penalized, target, tolerance)
    _append(rows, GRID_SEARCH, list(penalized.values()), penalized[chosen], target, chosen)
    _append(rows, "bisection", list(bisected.values()), bisected[found.coefficient], target, found.coefficient)
    _append(rows, "dense", [dense], dense)
    rows.to_csv(Path(path) / ROWS)
    return Comparison(rows, compared(path), found)


def compared(path: str | os.PathLike[str]) -> dict[str, Recorder]:
    """Label -> rows of the trainings worth a line in a figure, from the folder of a comparison."""
    runs: dict[str, Recorder] = {}
    for row in Recorder.from_csv(Path(path) / ROWS):
        method = str(row["method"])
        if method in ("constrained", "penalized", "bisection"):
            label = _label(method, float(row["coefficient"])) if "coefficient" in row else method
            runs[label] = Recorder.from_csv(RunFolder(Path(path) / str(row["folder"])).rows)
    return runs


def choose(runs: Mapping[float, Run], target: float, tolerance: float) -> float:
    """The coefficient to keep: of those within the budget, give or take ``tolerance``, the least validation error.

    Where none keeps to the budget it is the one that exceeds it least. The test error has no say.
    """
    within = {coefficient: run for coefficient, run in runs.items() if run.summary.shipped <= target + tolerance}
    if within:
        return min(within, key=lambda coefficient: within[coefficient].summary.validation_error)
    return min(runs, key=lambda coefficient: runs[coefficient].summary.shipped)


class _Trainings:
    """The trainings of one comparison, each in its own folder."""

    def __init__(self, recipe: Recipe, data: Dataset, path: Path, on_epoch: EpochCallback | None) -> None:
        self._recipe, self._data, self._path, self._on_epoch = recipe, data, path, on_epoch

    def constrained(self) -> Run:
        return self._complete("constrained", self._recipe, "constrained")

    def dense(self) -> Run:
        return self._complete("dense", replace(self._recipe, method="dense", target=None), "dense")

    def penalized(self, coefficient: float, way: str = "penalized") -> Run:
        recipe = replace(self._recipe, method="penalized", target=None, coefficient=coefficient)
        return self._complete(f"penalized-{coefficient!r}", recipe, _label(way, coefficient))

    def _complete(self, name: str, recipe: Recipe, label: str) -> Run:
        config = {"data": self._data.name, "recipe": recipe.to_dict()}
        with RunFolder(self._path / name).claim(config, resume=True) as folder:
            return complete(folder, recipe, self._data, self._on_epoch, label)


def _append(
    rows: Recorder,
    method: str,
    trained: Sequence[Run],
    shipped: Run,
    asked: float | None = None,
    coefficient: float | None = None,
) -> None:
    """Add the row of a way that trained all of ``trained`` in order to ship ``shipped``."""
    summary = shipped.summary
    rows.append(
        method=method,
        coefficient=coefficient,
        trainings=len(trained),
        seconds=sum(run.summary.seconds for run in trained),
        asked=asked,
        before_settling=summary.before_settling,
        shipped=summary.shipped,
        parameters=summary.parameters,
        validation_error=summary.validation_error,
        error=summary.test_error,
        folder=shipped.folder.path.name,
    )


def _label(way: str, coefficient: float) -> str:
    return f"{way}, λ = {coefficient:.3g}"
