"""The study of CIFAR-10 in a given time: what is chosen, trained, cut short, taken up again and handed back."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import gpu_cifar
import pytest
from cifar import write_archive

from lzero.recorder import Recorder
from lzero_lab.datasets.cifar10 import ARCHIVE
from lzero_lab.studies.forecast import Kind, Pace, kind
from lzero_lab.studies.report import finished
from lzero_lab.studies.study import Study

SCRIPT = Path(gpu_cifar.__file__)
DENSE, CONSTRAINED = "dense, full size", "hard concrete, constrained"
LATER = "trained first, then constrained"


@pytest.mark.parametrize(("step", "epochs"), [(1e-6, 40), (0.08, 24), (10.0, 6)])
def test_the_epochs_are_the_most_with_which_the_first_budgets_are_finished(
    monkeypatch: pytest.MonkeyPatch, step: float, epochs: int
) -> None:
    def paces(cells: Any, *_: Any) -> dict[Kind, Pace]:
        return {kind(cell): Pace(2.0, step) for cell in cells}

    monkeypatch.setattr(gpu_cifar, "measured", paces)
    options = gpu_cifar.parse(["--device", "cpu", "--must", "3"])
    assert gpu_cifar.chosen(gpu_cifar.part(options), options, time.time() + 480) == epochs


def test_a_trial_that_fails_and_data_that_is_missing_are_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no kernel image")

    monkeypatch.setattr(gpu_cifar, "measured", fail)
    options = gpu_cifar.parse(["--device", "cpu"])
    assert gpu_cifar.chosen(gpu_cifar.part(options), options, time.time()) == 10
    assert "RuntimeError: no kernel image" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="cifar10: missing"):
        gpu_cifar.main(["--data-dir", str(tmp_path), "--out", str(tmp_path / "out")])


def test_a_failure_of_one_training_is_a_row_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("CUDA out\nof memory")

    monkeypatch.setattr(gpu_cifar, "train_cell", fail)
    cell = Study.read("cifar").cells()[0]
    row, epochs = gpu_cifar.attempt(cell, "cpu", tmp_path, 0.0)
    assert row is not None and row["problem"] == "RuntimeError: CUDA out of memory" and row["cell"] == cell.key
    assert not epochs


def test_checkpoints_are_packed_into_few_files_and_unpacked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cells = Study.read("cifar").cells()[:9]
    work, out, again = tmp_path / "work", tmp_path / "out", tmp_path / "again"
    for folder in (work, out, again):
        folder.mkdir()
    for number, cell in enumerate(cells):
        (work / f"{cell.file_name}.pt").write_bytes(bytes([number]) * 10_000)
    monkeypatch.setattr(gpu_cifar, "LARGEST", 25_000)
    for _ in range(2):
        gpu_cifar.pack(cells, work, out)
        assert sorted(path.name for path in out.iterdir()) == [f"unfinished-{n}.tar" for n in (1, 2, 3)]
    names = []
    for number in (1, 2, 3):
        with tarfile.open(out / f"unfinished-{number}.tar") as archive:
            names.append(set(archive.getnames()))
    assert names == [{f"{cell.file_name}.pt" for cell in cells[n : n + 2]} for n in (0, 2, 4)]
    gpu_cifar.take_up(out, again)
    assert all((again / f"{cell.file_name}.pt").read_bytes()[0] == number for number, cell in enumerate(cells[:6]))


@pytest.mark.slow
def test_the_script_ends_in_time_and_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_archive(tmp_path / ARCHIVE)
    command = [sys.executable, str(SCRIPT), "--small", "--device", "cpu", "--workers", "2", "--out", str(out)]
    command += ["--data-dir", str(tmp_path), "--budgets", "resnet20 20 % MACs", "--methods", DENSE, CONSTRAINED, LATER]
    command += ["--seeds", "0", "1"]
    begun = subprocess.Popen([*command, "--epochs", "1", "--minutes", "5"], stdout=subprocess.PIPE, text=True)
    for _ in range(1200):
        if (out / "cells.csv").exists():
            break
        time.sleep(0.1)
    begun.kill()
    begun.wait()
    first = Recorder.from_csv(out / "cells.csv").rows
    assert 0 < len(first) < 6
    said = subprocess.run([*command, "--epochs", "1", "--minutes", "5"], stdout=subprocess.PIPE, text=True, check=True)
    rows = Recorder.from_csv(out / "cells.csv").rows
    assert {row["cell"] for row in first} < {row["cell"] for row in rows}
    assert len(rows) == 6 and not any("problem" in row for row in rows)
    assert "0 trainings that were cut short" in said.stdout
    names = {path.name for path in out.iterdir()}
    assert names == {"cells.csv", "epochs.csv", "table.md", "cifar.toml", "unfinished-1.tar"}
    study = Study.read(out / "cifar.toml")
    assert study.networks["resnet20"]["epochs"] == 1 and "2 trainings side by side" in study.note
    assert len(finished(out, gpu_cifar.small(study))) == 6
    brief = [*command, "--minutes", "0.05", "--trial", "2", "--out", str(tmp_path / "brief")]
    said = subprocess.run(brief, stdout=subprocess.PIPE, text=True, check=True)
    assert "6 epochs a training" in said.stdout
