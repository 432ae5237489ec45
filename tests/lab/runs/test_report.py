"""The content of reports of run folders: trainings in words, comparisons and sweeps."""

import pytest
from html_pages import checked

from lzero.recorder import Recorder
from lzero.report import render
from lzero_lab.errors import DataError
from lzero_lab.runs.compare import compare
from lzero_lab.runs.report import in_words, of_folder
from lzero_lab.runs.sweep import sweep
from lzero_lab.training.recipe import Recipe

FAST = Recipe(target=0.3, epochs=2, batch_size=100)


def test_a_comparison_is_that_of_all_its_ways(data, tmp_path):
    found = compare(FAST, data, tmp_path, grid=[0.5], tolerance=0.9)
    content = of_folder(tmp_path)
    assert content.runs.keys() == found.runs.keys() and content.rows == found.runs["constrained"].rows
    assert [row["method"] for row in content.points] == ["constrained", "penalized", "bisection", "dense"]
    assert content.certificate.asked == {"params": 0.3} and content.layers.rows[0]["units_before"] == 300
    text = checked(render(content)).text
    assert all(words in text for words in ("Error against density", "Gates over time", "those of the constrained"))


def test_a_sweep_is_one_row_a_training(data, tmp_path):
    rows = sweep(FAST, data, tmp_path, targets=[0.3, 0.6])
    content = of_folder(tmp_path)
    assert list(content.points) == rows.rows and content.certificate is None and content.notes == []
    page = checked(render(content))
    assert "Shipped against asked" in page.text and len(page.all("svg")) == 2


def test_rows_of_a_front_and_models_above_their_budget(tmp_path):
    recorder = Recorder()
    recorder.append(asked=0.5, shipped=0.6, params=0.6, evaluation=0.1, cut=1)
    recorder.append(asked=0.2, shipped=0.2, params=0.2, evaluation=0.2, cut=1)
    recorder.to_csv(tmp_path / "front.csv")
    content = of_folder(tmp_path)
    assert content.notes == ["1 of 2 models ship more than they were asked for."]
    assert "cut at other budgets" in checked(render(content)).text


def test_a_folder_without_any_of_these_is_refused(tmp_path):
    with pytest.raises(DataError, match="nothing to report"):
        of_folder(tmp_path)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "constrained, asked for at most 30 % of the parameters; 2 epochs, seed 0"),
        ({"measure": "macs", "steps": 7}, "constrained, asked for at most 30 % of the MACs; 7 steps, seed 0"),
        ({"scope": "layer"}, "at most 30 % of the parameters of every gated layer"),
        ({"scope": {"fc1": 0.5}, "target": None}, "asked for 0.5 of fc1"),
        ({"method": "dense", "target": None}, "dense, without gates"),
        ({"method": "penalized", "target": None, "coefficient": 1.0}, "with a fixed penalty, without a budget"),
    ],
)
def test_a_recipe_in_words(changed, words):
    assert words in in_words(Recipe(**{"target": 0.3, "epochs": 2, **changed}))
