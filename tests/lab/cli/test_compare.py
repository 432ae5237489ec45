"""`lzero compare`: every way to one density, side by side."""

from commands import FAST, names

from lzero_lab.cli import main


def test_compare_shows_every_way_and_draws_the_figure(tmp_path, capsys):
    folder = tmp_path / "run"
    arguments = ["compare", "--target", "0.3", "--grid", "0.01", "100", "--max-trainings", "3", *FAST]
    assert main([*arguments, "--out", str(folder)]) == 0
    text = capsys.readouterr().out
    assert all(way in text for way in ("constrained", "penalized", "grid search", "bisection", "dense"))
    assert f"figure: {folder / 'dynamics.png'}\n" in text
    assert {"comparison.csv", "dynamics.png", "trade-off.png", "constrained", "dense"} <= names(folder)

    rows = (folder / "comparison.csv").read_bytes()
    assert main([*arguments, "--out", str(folder), "--resume"]) == 0
    assert (folder / "comparison.csv").read_bytes() == rows
    assert main([*arguments[:3], *FAST, "--out", str(folder), "--resume"]) == 1
    assert "holds a run with grid [0.01, 100.0] and not" in capsys.readouterr().err
