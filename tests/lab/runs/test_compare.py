"""Three ways to one density: the rows, the searches, the choice, and what is read instead of trained."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from lzero.errors import BudgetError
from lzero.recorder import Recorder
from lzero_lab.runs.compare import choose, compare, compared
from lzero_lab.training.recipe import Recipe

RECIPE = Recipe(target=0.3, epochs=3, batch_size=64, gate_lr=0.2)
GRID = (0.01, 100.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def comparison(data, folder):
    return compare(RECIPE, data, folder, grid=GRID, max_trainings=5)


def rows_of(comparison, method):
    return [row for row in comparison.rows if row["method"] == method]


def test_every_way_has_its_row(comparison, folder):
    methods = [row["method"] for row in comparison.rows]
    assert methods == ["constrained", "penalized", "penalized", "grid search", "bisection", "dense"]
    assert Recorder.from_csv(folder / "comparison.csv").rows == comparison.rows.rows
    needed = {"trainings", "seconds", "before_settling", "shipped", "parameters", "validation_error", "error", "folder"}
    assert all(needed <= row.keys() for row in comparison.rows)


def test_the_constrained_way_needs_one_training_and_keeps_to_the_budget(comparison):
    (row,) = rows_of(comparison, "constrained")
    assert row["trainings"] == 1
    assert 0 <= row["asked"] - row["shipped"] < 0.01
    assert "coefficient" not in row


def test_every_training_of_a_search_counts(comparison):
    (bisection,) = rows_of(comparison, "bisection")
    tried = comparison.bisection.trainings
    assert bisection["trainings"] == len(tried) <= 5
    assert bisection["coefficient"] == comparison.bisection.coefficient
    assert bisection["shipped"] == comparison.bisection.shipped
    (search,) = rows_of(comparison, "grid search")
    penalized = rows_of(comparison, "penalized")
    assert search["trainings"] == len(GRID)
    assert search["seconds"] == pytest.approx(sum(row["seconds"] for row in penalized))
    assert [row["coefficient"] for row in penalized] == list(GRID)
    assert all("asked" not in row for row in penalized)  # a penalty asks for no density
    assert search["folder"] in [row["folder"] for row in penalized]


def test_every_training_has_a_folder_of_its_own(comparison, folder):
    tried = {coefficient for coefficient, _ in comparison.bisection.trainings} | set(GRID)
    expected = {"constrained", "dense", *(f"penalized-{coefficient!r}" for coefficient in tried)}
    assert {path.name for path in folder.iterdir() if path.is_dir()} == expected
    assert all((folder / name / "model.safetensors").is_file() for name in expected)


def test_the_runs_of_the_figure_have_rows(comparison, folder):
    labels = list(comparison.runs)
    assert labels[:3] == ["constrained", "penalized, λ = 0.01", "penalized, λ = 100"]
    assert labels[3].startswith("bisection, λ = ")
    assert all(len(rows) == 3 for rows in comparison.runs.values())
    assert list(compared(folder)) == labels


def test_finished_trainings_are_not_repeated(comparison, data, folder):
    seen = []
    summary = folder / "penalized-0.01" / "summary.json"
    summary.unlink()  # as if it had been interrupted after its last epoch
    again = compare(RECIPE, data, folder, grid=GRID, max_trainings=5, on_epoch=lambda label, row: seen.append(label))
    assert seen == []
    assert again.rows.rows == comparison.rows.rows


def test_the_trainings_do_not_depend_on_each_other(comparison, data, tmp_path):
    alone = compare(RECIPE, data, tmp_path, grid=[100.0], max_trainings=1)
    keys = ("before_settling", "shipped", "validation_error", "error")
    for mine, other in (
        (rows_of(alone, "penalized")[0], rows_of(comparison, "penalized")[1]),
        (rows_of(alone, "constrained")[0], rows_of(comparison, "constrained")[0]),
    ):
        assert [mine[key] for key in keys] == [other[key] for key in keys]


def run(shipped, validation_error, test_error):
    return SimpleNamespace(
        summary=SimpleNamespace(shipped=shipped, validation_error=validation_error, test_error=test_error)
    )


def test_the_choice_is_by_validation_error_among_those_within_the_budget():
    runs = {0.1: run(0.9, 0.01, 0.01), 1.0: run(0.305, 0.03, 0.09), 10.0: run(0.2, 0.04, 0.02)}
    assert choose(runs, 0.3, 0.01) == 1.0
    assert choose(runs, 0.25, 0.01) == 10.0


def test_the_choice_where_none_keeps_to_the_budget_is_the_sparsest():
    assert choose({0.1: run(0.9, 0.01, 0.01), 1.0: run(0.5, 0.03, 0.02)}, 0.1, 0.01) == 1.0


@pytest.mark.parametrize(
    ("recipe", "grid", "message"),
    [
        (replace(RECIPE, scope="layer"), GRID, "one target for the whole model"),
        (replace(RECIPE, method="penalized"), GRID, "expected a constrained recipe"),
        (replace(RECIPE, target=None), GRID, "expected a constrained recipe with one target"),
        (RECIPE, (), "the grid has no coefficient; give at least one"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_written(recipe, grid, message, data, tmp_path):
    with pytest.raises(BudgetError, match=message):
        compare(recipe, data, tmp_path, grid=grid)
    assert list(tmp_path.iterdir()) == []
