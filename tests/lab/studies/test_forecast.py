"""How long a study takes: from rows, from short trials, laid out over workers."""

import time
from dataclasses import replace

import pytest
from inline import Inline

from lzero_lab import datasets
from lzero_lab.studies import forecast, workers
from lzero_lab.studies.cell import Cell
from lzero_lab.studies.forecast import (
    IMAGES,
    Kind,
    Pace,
    kind,
    known,
    laid_out,
    measured,
    noise,
    paces_of,
    steps,
    trial,
)
from lzero_lab.training.recipe import Recipe

LABELS = (("label", "a"),)
TINY = Cell("digits", Recipe(target=0.5, epochs=3, batch_size=100), labels=LABELS)
MLP = Kind("mlp", "a", 100)


def test_workers_take_up_trainings_in_order_as_soon_as_they_are_free():
    assert laid_out([4, 1, 1, 3, 2], 2) == [4, 1, 2, 5, 6]
    assert laid_out([], 3) == []


def test_steps_are_those_that_the_training_takes(data):
    digits = datasets.load("digits")
    assert IMAGES["digits"] == (len(digits.train_x), digits.image_shape)
    assert steps(TINY) == 3 * 11 and steps(Cell("digits", replace(TINY.recipe, steps=7))) == 7


def test_rows_of_the_same_device_say_what_a_step_takes():
    row = {"model": "mlp", "label": "a", "batch_size": 100, "steps": 10}
    rows = [row | {"seconds": 1.0}, row | {"seconds": 3.0, "device": "cpu"}, row | {"seconds": 50.0, "device": "GPU"}]
    assert paces_of([*rows, {"cell": "x", "problem": "failed"}], "cpu") == {MLP: Pace(0.0, pytest.approx(0.2))}


def test_what_is_not_known_of_a_kind_is_taken_from_others_of_its_network_and_else_nothing_is_said():
    paces = {MLP: Pace(1.0, 0.1), Kind("mlp", "b", 50): Pace(3.0, 0.3), Kind("lenet5", "a", 100): Pace(9.0, 9.0)}
    other = replace(TINY, labels=(("label", "c"),))
    assert known([TINY, other], paces) == [pytest.approx(1 + 33 * 0.1), pytest.approx(2 + 33 * 0.2)]
    assert known([TINY, replace(TINY, recipe=replace(TINY.recipe, model="resnet"))], paces) is None


def test_a_trial_counts_the_steps_that_a_training_makes(monkeypatch):
    monkeypatch.setattr(workers, "ProcessPoolExecutor", Inline)
    started = time.time()
    found = measured([TINY], "cpu", 1, 0.6)
    assert list(found) == [MLP] and 0 < found[MLP].step < 0.1 and found[MLP].setup >= 0
    assert time.time() - started < 60
    endless = replace(TINY, recipe=replace(TINY.recipe, lr=1e30, optimizer="sgd"))
    assert trial(endless, "cpu", 0.0, 0.0) == (MLP, None)  # its loss is no number before it is timed


def test_networks_are_tried_by_turns_and_none_that_begins_with_weights(monkeypatch):
    def cell(model, label, start=""):
        return Cell("digits", Recipe(model=model, method="dense", start=start), labels=(("label", label),))

    monkeypatch.setattr(workers, "ProcessPoolExecutor", Inline)
    monkeypatch.setattr(forecast, "trial", lambda cell, *_: (kind(cell), Pace(1.0, 2.0)))
    cells = [cell("mlp", "z", "x"), cell("mlp", "a"), cell("mlp", "b"), cell("mlp", "a"), cell("lenet5", "a")]
    names = [{of[:2] for of in measured(cells, "cpu", count, 1.0)} for count in (1, 2, 3, 9)]
    order = [("mlp", "a"), ("lenet5", "a"), ("mlp", "b")]
    assert names == [set(order[:count]) for count in (1, 2, 3, 3)]


def test_noise_has_the_shape_of_the_images():
    made = noise(TINY.recipe, "digits", "cpu")
    assert made.image_shape == (1, 8, 8) and len(made.train_x) == 800 and len(made.validation_y) == 100
