"""`lzero plot`: the figures of a run again, or one figure of a CSV."""

import os

import pytest
from commands import error_line

from lzero.recorder import Recorder
from lzero_lab.cli import main


def test_plot_draws_a_run_folder_again(trained, capsys):
    before = (trained / "histogram.png").read_bytes()
    (trained / "histogram.png").unlink()
    assert main(["plot", str(trained)]) == 0
    assert (trained / "histogram.png").read_bytes() == before
    assert capsys.readouterr().out.splitlines()[0] == f"figure: {trained / 'dynamics.png'}"


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("dynamics", "rows.csv"),
        ("histogram", "rows.csv"),
        ("architecture", "architecture.csv"),
        ("control", "densities.csv"),
        ("trade-off", "densities.csv"),
    ],
)
def test_plot_draws_each_kind_from_a_csv(kind, source, trained, tmp_path):
    densities = Recorder()
    for asked in (0.2, 0.5):
        densities.append(method="constrained", asked=asked, shipped=asked, error=0.1)
    densities.to_csv(tmp_path / "densities.csv")
    path = (tmp_path if source == "densities.csv" else trained) / source
    assert main(["plot", str(path), "--kind", kind, "--out", str(tmp_path / "figure.svg")]) == 0
    assert (tmp_path / "figure.svg").read_text().startswith("<?xml")


def test_plot_of_what_has_no_rows_is_one_line(tmp_path, trained, capsys):
    assert main(["plot", str(tmp_path)]) == 1
    assert "nothing to draw; expected comparison.csv, sweep.csv, rows.csv" in error_line(capsys)
    assert main(["plot", str(tmp_path / "none.csv")]) == 1
    assert "none.csv: not readable as a CSV of rows" in error_line(capsys)
    assert main(["plot", str(trained / "rows.csv"), "--kind", "control", "--out", str(tmp_path / "a.png")]) == 1
    assert "a figure of the kind control needs the columns method, asked, shipped" in error_line(capsys)
    assert main(["plot", str(trained), "--kind", "control"]) == 1
    assert "holds one training, of which there is no figure of the kind control" in error_line(capsys)


@pytest.mark.parametrize("name", ["$\\frac$.csv", "a$b$_^.csv", os.fsdecode(b"\xff.csv")])
def test_any_name_of_a_file_may_stand_in_a_figure(name, trained, tmp_path):
    (tmp_path / name).write_bytes((trained / "rows.csv").read_bytes())
    assert main(["plot", str(tmp_path / name), "--out", str(tmp_path / "figure.png")]) == 0
