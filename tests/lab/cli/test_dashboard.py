"""Frames: what stands in them at any size, for a training in every state and for several."""

import io

import pytest
from lab.watched import end, epochs, run_folder
from rich.console import Console

from lzero_lab.cli.dashboard import frame, last_words
from lzero_lab.lock import alone_in
from lzero_lab.watching.look import look
from lzero_lab.watching.watched import Several, Watched


def shown(seen, width=100, height=32, plain=False):
    screen = Console(width=width, height=height, record=True, file=io.StringIO(), force_terminal=True)
    screen.print(frame(seen, width, height, plain=plain))
    return screen.export_text()


@pytest.mark.parametrize(("width", "height"), [(100, 32), (80, 24), (60, 40), (200, 60)])
def test_a_frame_fits_its_window_and_says_what_there_is_to_know(tmp_path, width, height):
    folder = run_folder(tmp_path / "run", 6)
    with alone_in(folder):
        text = shown(look(folder), width, height)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width and len(lines) <= height
    for word in ("at the target", "epoch 6, step 54 of 90", "60%", "left", "10.00%", "multiplier", "8.33%"):
        assert word in text, word


def test_a_finished_training_shows_what_it_shipped_and_a_dead_one_how_to_go_on(tmp_path):
    finished, dead = end(run_folder(tmp_path / "run", 10)), run_folder(tmp_path / "dead", 4)
    text = shown(look(finished))
    assert "9.99%" in text and "test error" in text and "2.90%" in text and "100%" in text
    assert last_words(look(finished)) == "run: finished"
    assert "no process is at work here; --resume continues it" in shown(look(dead))
    assert last_words(look(dead)).startswith("dead: stopped after epoch 4, step 36 of 90, and no process is at work")
    assert last_words(Watched("a", "stopped", [])).startswith("a: stopped before its first epoch was over")


def test_rows_without_most_columns_and_of_one_row_and_none(tmp_path):
    assert "no such column" in shown(Watched("rows.csv", "training", [{"step": 1, "loss": 0.5}]))
    assert "0.5" in shown(Watched("rows.csv", "training", [{"loss": 0.5}]))
    assert "waiting for the first row" in shown(Watched("rows.csv", "waiting", []))
    assert last_words(Watched("rows.csv", "unknown", [{"loss": 0.5}])) == ""


def test_a_terminal_without_unicode_gets_none_in_its_curves(tmp_path):
    text = shown(Watched("rows.csv", "training", epochs(5), 90), plain=True)
    assert "*" in text and not any(0x2800 <= ord(letter) < 0x2900 for letter in text)


def test_several_have_a_line_each_unfinished_ones_first_and_the_rest_is_counted():
    done = [Watched(f"done {n}", "finished", [], ends={"shipped": 0.1, "validation_error": 0.03}) for n in range(50)]
    at_work = Watched("at work", "training", epochs(5), 90, who="process 7 on here")
    text = shown(Several("folder", "sweep", [*done, at_work], 60, "process 7 on here"), height=24)
    lines = text.splitlines()
    assert len(lines) <= 24 and "50 of 60 trainings finished" in lines[0] and "process 7 on here" in lines[0]
    assert next(n for n, line in enumerate(lines) if "at work" in line) < next(
        n for n, line in enumerate(lines) if "done 0" in line
    )
    assert "and 33 more" in text and "56%" not in text and "50%" in text


@pytest.mark.parametrize(
    "values", [[1e308, -1e308], [5e-324, 1e308], [float("nan")] * 2, [float("inf"), 1.0], [0.0, 0]]
)
def test_no_numbers_are_too_large_or_too_small_for_a_frame(values):
    rows = [{"step": n, "loss": value, "deployed": value, "multiplier": value} for n, value in enumerate(values)]
    assert "training loss" in shown(Watched("rows.csv", "training", rows))
