"""One cell: its key, its files, its training from checkpoint to checkpoint."""

import pytest

from lzero_lab.studies.cell import Cell, file_name, train, train_cell
from lzero_lab.training.recipe import Recipe

TINY = Cell("digits", Recipe(target=0.5, steps=12, batch_size=64))


def test_a_training_that_cannot_be_done_is_a_row_with_its_reason():
    row, _ = train_cell(Cell("digits", Recipe(target=1e-6, steps=3)))
    assert "cannot be met" in row["problem"] and "before_settling" not in row


def test_a_key_names_what_is_not_a_default():
    assert TINY.key == 'digits {"batch_size": 64, "steps": 12, "target": 0.5}'
    assert Cell("mnist", TINY.recipe, "/somewhere").key == Cell("mnist", TINY.recipe, "/elsewhere").key


def test_a_training_stops_at_its_deadline_and_goes_on_from_its_checkpoint(data, tmp_path):
    recipe, path = Recipe(target=0.5, epochs=3, batch_size=64), tmp_path / "a.pt"
    seen = []

    def stop_after_the_first(training, row):
        seen.append((training.epoch, row["epoch"], path.exists()))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, data, path, on_epoch=stop_after_the_first)
    assert seen == [(1, 1, True)]
    assert train(recipe, data, path, deadline=0.0) is None
    again = train(recipe, data, path, on_epoch=lambda training, row: seen.append(row["epoch"]))
    assert seen[1:] == [2, 3] and again.step == again.steps
    rows = [[row | {"seconds": 0} for row in one.recorder.rows] for one in (again, train(recipe, data))]
    assert rows[0] == rows[1]


def test_files_of_a_cell_are_named_by_its_key_alone():
    assert TINY.file_name == file_name(TINY.key) == Cell("digits", TINY.recipe, "/else", (("a", "b"),)).file_name
    assert len({TINY.file_name, Cell("mnist", TINY.recipe).file_name}) == 2 and TINY.file_name.isalnum()
