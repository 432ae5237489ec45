"""`lzero study`: parts of a study, continued, and one line where nothing came of it."""

import re

from inline import Inline
from small_study import TEXT

from lzero.recorder import Recorder
from lzero_lab.cli import main
from lzero_lab.studies import workers
from lzero_lab.studies.report import CELLS


def test_the_command_trains_a_part_of_a_study_tells_how_much_there_is_and_goes_on(tmp_path, capsys):
    path, out = tmp_path / "study.toml", tmp_path / "out"
    path.write_text(TEXT.replace("digits", "mnist"), encoding="utf-8")
    command = ["study", str(path), "--data", "digits", "--budgets", "half", "--seeds", "3", "--out", str(out)]
    assert main([*command, "--methods", "constrained"]) == 0
    first = capsys.readouterr().out
    assert "constrained, half, seed 3: shipped" in first and "1 of 1 trainings finished, 0 failed" in first
    assert main(command) == 0
    second = capsys.readouterr().out
    assert "constrained, half, seed 3" not in second and "binary, half, seed 3: shipped" in second
    assert "2 of 2 trainings finished" in second and "methods-mlp.png" in second
    assert main([*command, "--report"]) == 0 and "2 of 2" in capsys.readouterr().out
    assert main([*command, "--methods", "no"]) == 1
    assert main(["study", str(path), "--hours", "1e-9", "--out", str(tmp_path / "none"), "--data", "digits"]) == 1
    assert "no training has finished, and no epoch of one; give the study more --hours" in capsys.readouterr().err
    assert main(["study", str(path), "--report", "--out", str(tmp_path / "none"), "--data", "digits"]) == 1
    assert "no training has finished; leave out --report" in capsys.readouterr().err


def test_hours_that_finish_nothing_show_what_was_begun_and_the_same_command_goes_on(tmp_path, monkeypatch, capsys):
    path, out = tmp_path / "study.toml", tmp_path / "out"
    path.write_text(TEXT.replace("steps = 12", "steps = 60"), encoding="utf-8")
    monkeypatch.setattr(workers, "ProcessPoolExecutor", Inline)
    command = ["study", str(path), "--budgets", "half", "--methods", "constrained", "--seeds", "0", "--out", str(out)]
    with monkeypatch.context() as patch:
        times = iter([0.0, 0.0, 0.0, 0.0, *[1e9] * 9])  # of the deadline, and of two epochs that begin before it
        patch.setattr("time.time", lambda: next(times))
        assert main([*command, "--hours", "1"]) == 0
    forecast, *said = capsys.readouterr().out.splitlines()
    assert forecast.startswith("trainings to go: 1; how long")
    assert said[0] == "0 of 1 trainings finished, 0 failed, 1 begun"
    begun = re.fullmatch(
        r"  begun: constrained, half, seed 0: epoch (\d), step (\d+) of 60 \(\d+%\), density .*", said[1]
    )
    assert begun and int(begun[2]) == 18 * int(begun[1]) and "validation error" in said[1]
    assert said[2] == "their checkpoints are saved: run the same command again, and they go on from there"
    assert {path.suffix for path in out.iterdir()} == {".pt", ".csv"}
    assert main(command) == 0 and "1 of 1 trainings finished, 0 failed" in capsys.readouterr().out
    assert [path.name for path in out.glob("*.rows.csv")] == [] and not list(out.glob("*.pt"))


def test_a_study_in_which_all_failed_says_how_many_and_why(tmp_path, monkeypatch, capsys):
    path, out = tmp_path / "study.toml", tmp_path / "out"
    path.write_text(TEXT.replace("0.5", "1e-6"), encoding="utf-8")
    monkeypatch.setattr(workers, "ProcessPoolExecutor", Inline)
    command = ["study", str(path), "--budgets", "half", "--out", str(out)]
    assert main(command) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "no training has finished, 4 failed; the first is " in line and ": params: a density of 1e-06" in line
    assert main(command) == 1
    assert len(Recorder.from_csv(out / CELLS)) == 4


def test_missing_data_is_one_line_and_no_training_fails_by_it(tmp_path, monkeypatch, capsys):
    path, out = tmp_path / "study.toml", tmp_path / "out"
    path.write_text(TEXT, encoding="utf-8")
    monkeypatch.setattr(workers, "ProcessPoolExecutor", Inline)
    assert main(["study", str(path), "--data", "mnist", "--data-dir", str(tmp_path), "--out", str(out)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lzero: error: mnist: missing train-images-idx3-ubyte")
    assert not (out / CELLS).exists()


def test_how_long_it_takes_is_said_beforehand_from_a_trial_or_from_what_is_finished(tmp_path, monkeypatch, capsys):
    path, out = tmp_path / "study.toml", tmp_path / "out"
    path.write_text(TEXT.replace("steps = 12", "epochs = 40"), encoding="utf-8")
    monkeypatch.setattr(workers, "ProcessPoolExecutor", Inline)
    command = ["study", str(path), "--methods", "constrained", "--epochs", "1", "--device", "cpu", "--out", str(out)]
    assert main([*command, "--budgets", "half", "--seeds", "0"]) == 0
    assert "trainings to go: 1; how long is known when the first is finished, or by --trial" in capsys.readouterr().out
    assert [row["epochs"] for row in Recorder.from_csv(out / CELLS)] == [1]
    assert main(command) == 0
    assert "trainings to go: 3, about " in capsys.readouterr().out
    assert main(command) == 0 and "to go" not in capsys.readouterr().out
    assert main([*command[:-1], str(tmp_path / "other"), "--seeds", "0", "--trial", "0.3"]) == 0
    said = capsys.readouterr().out
    assert "trainings to go: 2, about " in said and "hours on cpu at 1 a time" in said
