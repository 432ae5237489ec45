"""`lzero sweep`: a row a cell, and its figures."""

import json

from commands import FAST, names

from lzero.recorder import Recorder
from lzero_lab.cli import main


def test_sweep_has_a_row_for_every_cell_and_draws_the_figures(tmp_path, capsys):
    folder = tmp_path / "run"
    arguments = ["sweep", "--target", "0.3", "0.6", "--seed", "0", "1", "--measure", "params", *FAST, "--epochs", "1"]
    assert main([*arguments, "--out", str(folder)]) == 0
    assert len(Recorder.from_csv(folder / "sweep.csv")) == 4
    assert {"control.png", "trade-off.png"} <= names(folder)
    assert f"figure: {folder / 'control.png'}\n" in capsys.readouterr().out


def test_sweep_trains_what_is_asked_twice_once(tmp_path):
    arguments = ["sweep", "--target", "0.3", "0.3", "--seed", "0", "0", *FAST, "--epochs", "1"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    assert len(Recorder.from_csv(tmp_path / "sweep.csv")) == 1
    assert json.loads((tmp_path / "config.json").read_text())["seeds"] == [0]
