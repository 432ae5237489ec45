"""What files tell of trainings: in every state, with numbers by hand, and without a trace."""

import os
import sys

import pytest
from lab.watched import end, epochs, run_folder, written

from lzero_lab.errors import DataError
from lzero_lab.lock import LOCK, alone_in
from lzero_lab.watching.look import look

posix = pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")


def content(folder):
    return {path: (path.stat().st_mtime_ns, path.is_dir() or path.read_bytes()) for path in folder.rglob("*")}


@posix
def test_a_training_at_work_in_every_phase_and_nothing_is_written(tmp_path):
    folder = run_folder(tmp_path / "run", 0)
    with alone_in(folder):
        assert (look(folder).state, look(folder).phase) == ("waiting", "waiting for the first row")
        phases = []
        for count in range(1, 11):
            written(folder / "rows.csv", epochs(count))
            before = content(folder)
            seen = look(folder)
            assert content(folder) == before and seen.state == "training" and f"process {os.getpid()}" in seen.who
            assert seen.total_steps == 90 and seen.progress == pytest.approx(count / 10)
            phases.append(seen.phase)
        assert phases == ["annealing the target"] * 3 + ["at the target"] * 4 + ["fine-tuning, gates settled"] * 3
        assert (seen.target, seen.multiplier, seen.about) == (0.1, 5.0, "mlp on digits, constrained")


def test_a_finished_run_and_one_that_died(tmp_path):
    finished = end(run_folder(tmp_path / "run", 10))
    assert (look(finished).state, look(finished).progress) == ("finished", 1.0)
    assert look(finished).ends["shipped"] == 0.0999
    dead = run_folder(tmp_path / "dead", 4)
    (dead / LOCK).write_text(f"process 4194399 on {os.uname().nodename}\n")  # above the largest number of a process
    assert (look(dead).state, look(dead).phase, look(dead).who) == ("stopped", "stopped", "")
    (dead / LOCK).write_text("process 1 on another machine\n")  # nobody can tell from here
    assert (look(dead).state, look(dead).who) == ("training", "process 1 on another machine")


def test_rows_of_somebodys_own_loop(tmp_path):
    path = written(tmp_path / "rows.csv", [{"step": n, "loss": 1.0 / n} for n in (1, 2, 3)])
    seen = look(path)
    assert (seen.state, seen.phase, seen.progress, seen.seconds_left) == ("training", "training", None, None)
    os.utime(path, (0, path.stat().st_mtime - 1000))
    assert look(path).state == "unknown" and look(path).age == pytest.approx(1000, abs=5)
    path = written(tmp_path / "more.csv", [{"step": n, "total_steps": 4, "seconds": n} for n in (1, 2)])
    assert look(path).progress == 0.5 and look(path).seconds_left == pytest.approx(2, abs=0.5)
    written(path, [{"step": 4, "total_steps": 4, "loss": 1.0}])
    assert look(path).state == "finished"


@posix
def test_a_sweep_has_a_line_a_training_and_knows_how_many_there_will_be(tmp_path):
    sweep = run_folder(tmp_path / "sweep", 0, "sweep", targets=[0.1, 0.5], seeds=[0, 1, 2], measures=["params"])
    end(run_folder(sweep / "params-0.1-seed0", 10, None))
    at_work = run_folder(sweep / "params-0.1-seed1", 3, None)
    with alone_in(sweep), alone_in(at_work):
        seen = look(sweep)
        assert (seen.kind, seen.total, seen.state) == ("sweep", 6, "training") and "process" in seen.who
        assert {one.name: one.state for one in seen.trainings} == {
            "params-0.1-seed0": "finished",
            "params-0.1-seed1": "training",
        }
    assert look(sweep).state == "stopped"


@posix
def test_a_study_has_those_that_are_begun_first_and_then_the_others(tmp_path):
    named = {"label": "constrained", "budget": "half"}
    done = {"cell": "a", **named, "seed": 0, "asked": 0.5, "shipped": 0.49, "validation_error": 0.1, "error": 0.2}
    failed = {"cell": "c", **named, "seed": 2, "problem": "not today"}
    written(tmp_path / "cells.csv", [done, failed])
    begun = [{"cell": "b", **named, "seed": 1, "total_steps": 90, **row} for row in epochs(3)]
    written(tmp_path / ("0" * 16 + ".rows.csv"), begun)
    with alone_in(tmp_path):
        seen = look(tmp_path)
    assert [(one.name, one.state) for one in seen.trainings] == [
        ("constrained, half, seed 1", "training"),
        ("constrained, half, seed 2", "failed"),
        ("constrained, half, seed 0", "finished"),
    ]
    assert seen.trainings[0].progress == pytest.approx(0.3)
    assert (look(tmp_path).state, look(tmp_path).trainings[0].state) == ("stopped", "stopped")


def test_what_is_no_run_says_so(tmp_path):
    with pytest.raises(DataError, match="nothing to watch; expected a run folder of lzero"):
        look(tmp_path)


def test_what_is_no_number_is_passed_over(tmp_path):
    rows = [{"step": n, "total_steps": 9, "seconds": n, "loss": "low", "deployed": 0.5} for n in (1, 2)]
    rows.append({"step": float("inf"), "total_steps": float("nan"), "deployed": float("nan"), "seconds": "late"})
    seen = look(written(tmp_path / "rows.csv", rows))
    assert seen.total_steps == 9 and seen.last.keys() == {"deployed"} and seen.progress == 0
    assert look(written(tmp_path / "rows.csv", [{"step": 10**400, "label": "x"}])).last == {}
