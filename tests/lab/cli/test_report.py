"""`lzero report`: one page of a run folder, finished or not, with a checkpoint and without."""

import json
import shutil

import pytest
from commands import FAST, RUN_FILES, error_line, names
from html_pages import checked

from lzero_lab.cli import main
from lzero_lab.runs.folder import RunFolder


def page(path):
    return checked(path.read_text(encoding="utf-8"))


@pytest.fixture
def folder(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def test_the_page_of_a_training(trained, folder, capsys):
    assert main(["report", str(folder), "--front", "0.5", "0.2"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"report: {folder / 'report.html'}"]
    found = page(folder / "report.html")
    certificate, summary = RunFolder(folder).read_certificate(), RunFolder(folder).read_summary()
    assert names(folder) == names(trained) | {"report.html"}
    for column in (certificate.asked, certificate.expected, certificate.before_settling, certificate.deployed):
        assert all(f"{100 * value:.2f} %" in found.text for value in column.values())
    words = ["mlp on digits", "30.00 %", f"{certificate.parameters:,}", f"{100 * summary.test_error:.2f} %"]
    words += [
        f"{100 * summary.validation_error:.2f} %",
        "recipe.seed 0",
        "batch 32 of digits",
        "Gates over time",
        "fc1",
    ]
    assert all(word in found.text for word in words), [word for word in words if word not in found.text]
    assert len(found.all("svg")) == 4 + 1 + 1 + 2  # dynamics; gates; course; params and macs of the front
    assert "not finished" not in found.text and "data_dir" not in found.text
    assert "Warning: total_steps: " in found.text and all(text in found.text for text in certificate.warnings)


def test_files_alone_make_a_page_too(folder, capsys):
    (folder / "checkpoint.pt").unlink()
    out = folder.parent / "pages" / "one.html"
    assert main(["report", str(folder), "--files-only", "--out", str(out)]) == 0
    found = page(out)
    certificate = RunFolder(folder).read_certificate()
    assert f"{100 * certificate.deployed['params']:.2f} %" in found.text and "300 → " in found.text
    assert "Latency" not in found.text and names(folder) & {"report.html"} == set()


def test_a_run_that_is_not_finished_says_so(folder):
    for name in RUN_FILES - {"config.json", "rows.csv", "checkpoint.pt"}:
        (folder / name).unlink()
    assert main(["report", str(folder)]) == 0
    found = page(folder / "report.html")
    assert "This run is not finished: 2 of 2 epochs are recorded." in found.text
    assert "Layer by layer" in found.text and "Certificate" in found.text
    (folder / "checkpoint.pt").unlink()
    assert main(["report", str(folder)]) == 0
    assert "Certificate" not in page(folder / "report.html").text


def test_a_run_without_an_epoch_has_no_page(folder, capsys):
    for name in names(folder) - {"config.json"}:
        (folder / name).unlink()
    assert main(["report", str(folder)]) == 1
    assert "no epoch of this run is recorded yet" in error_line(capsys) and names(folder) == {"config.json"}


@pytest.mark.parametrize(
    "kind",
    [
        ["--dense"],
        pytest.param(["--penalty", "0.5"], marks=pytest.mark.slow),
        pytest.param(["--scope", "layer", "--target", "0.5"], marks=pytest.mark.slow),
    ],
)
def test_other_trainings_have_a_page(kind, tmp_path):
    run = tmp_path / "run"
    assert main(["train", *kind, *FAST, "--out", str(run)]) == 0 and main(["report", str(run)]) == 0
    found = page(run / "report.html")
    asked = "nothing was asked for" in found.text
    assert asked == ("--scope" not in kind) and ("Layer by layer" in found.text) == (kind != ["--dense"])
    assert ("One line a budget" in found.text) == ("--scope" in kind)


def test_warnings_and_words_of_the_run_are_escaped(folder):
    config = json.loads((folder / "config.json").read_text())
    config["data_dir"], config["<script>x"] = "/secret", "<script>alert(1)</script>"
    (folder / "config.json").write_text(json.dumps(config))
    certificate = json.loads((folder / "certificate.json").read_text())
    certificate["warnings"] = ["<script>alert(2)</script>"]
    (folder / "certificate.json").write_text(json.dumps(certificate))
    assert main(["report", str(folder), "--files-only"]) == 0
    found = page(folder / "report.html")
    assert "alert(1)" in found.text and "alert(2)" in found.text and "/secret" not in found.text


def test_a_folder_of_something_else_is_one_line(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 1
    assert "nothing to report; expected config.json, comparison.csv, sweep.csv, front.csv" in error_line(capsys)
    (tmp_path / "cells.csv").write_text("cell\n")
    assert main(["report", str(tmp_path)]) == 1
    assert "holds a study, whose page is table.md" in error_line(capsys)
    assert main(["report", str(tmp_path / "none")]) == 1
    assert "nothing to report" in error_line(capsys) and names(tmp_path) == {"cells.csv"}


def test_a_front_needs_the_network(folder, capsys):
    assert main(["report", str(folder), "--front", "0.5", "--files-only"]) == 2
    assert "--front needs the trained network" in capsys.readouterr().err


def test_data_that_are_gone_are_told_with_the_way_out(folder, capsys):
    config = json.loads((folder / "config.json").read_text())
    config["data"], config["data_dir"] = "mnist", str(folder / "nowhere")
    (folder / "config.json").write_text(json.dumps(config))
    assert main(["report", str(folder)]) == 1
    assert "or use --files-only, for what the run's files hold" in error_line(capsys)
