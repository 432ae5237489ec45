"""Processes: what they return is kept, whoever is killed is told of, and nobody is left behind."""

import os
import signal
import sys
import threading
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from inline import Inline
from waiting import started, wait_for

from lzero.errors import LzeroError
from lzero_lab.studies import workers


def test_a_worker_that_was_killed_is_said_in_one_line_and_what_is_finished_is_kept(monkeypatch):
    class Broken(Inline):
        def submit(self, function, *arguments):
            future = super().submit(function, *arguments)
            if arguments == (2,):
                future = Future()
                future.set_exception(BrokenProcessPool("a child process terminated abruptly"))
            return future

    kept = []
    monkeypatch.setattr(workers, "ProcessPoolExecutor", Broken)
    with pytest.raises(LzeroError, match=r"a worker was killed.* run this again, with fewer workers"):
        workers.run_tasks(abs, [(1,), (2,), (-3,)], kept.append, 3)
    assert sorted(kept) == [1, 3]


KILLED = """
from lzero_lab.studies.cell import Cell
from lzero_lab.studies.cells import run_cells
from lzero_lab.training.recipe import Recipe
if __name__ == "__main__":
    run_cells([Cell("digits", Recipe(target=0.5, epochs=100_000))], "cells.csv", folder=".")
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads the children of a process from /proc")
def test_a_study_that_is_killed_leaves_no_worker_behind(tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    with started([sys.executable, "killed.py"], tmp_path) as study:
        wait_for(lambda: list(tmp_path.glob("[!.]*.pt")))
        left = children(study)
        study.kill()
        study.wait(60)
        assert left
        wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in left))


STUDY = """
data = "digits"
seeds = [0, 1]
budgets.half = { target = 0.5 }
networks.mlp = { epochs = 100_000 }
methods.constrained = {}
"""


COMMAND = "import sys; from lzero_lab.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads the children of a process from /proc")
@pytest.mark.parametrize("at_once", [True, False])
def test_ctrl_c_ends_a_study_after_its_epoch_and_a_killed_worker_is_one_line(tmp_path, at_once):
    (tmp_path / "study.toml").write_text(STUDY)
    command = [sys.executable, "-c", COMMAND, "study", "study.toml", "--out", ".", "--workers", "2", "--device", "cpu"]

    with started(command, tmp_path) as study:
        wait_for(lambda: len(children(study)) == 3)  # two workers, and what Python frees their semaphore with
        if not at_once:
            wait_for(lambda: len(list(tmp_path.glob("[!.]*.pt"))) == 2)
        os.killpg(study.pid, signal.SIGINT)
        _, said = study.communicate(timeout=300)
    assert study.returncode == 130 and said == "lzero: interrupted; run the command again\n"
    assert len(list(tmp_path.glob("[!.]*.pt"))) == (0 if at_once else 2)
    if at_once:
        return
    with started(command, tmp_path) as study:
        wait_for(lambda: len(children(study)) == 3)
        os.kill(int(children(study)[-1]), signal.SIGKILL)
        _, said = study.communicate(timeout=300)
    assert study.returncode == 1 and said.startswith("lzero: error: a worker was killed") and said.count("\n") == 1
    assert len(list(tmp_path.glob("[!.]*.pt"))) == 2


def children(process):
    """The numbers of its processes, in the order in which they began."""
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()


def test_every_task_is_called_with_its_arguments_and_its_result_kept(monkeypatch):
    monkeypatch.setattr(workers, "ProcessPoolExecutor", Inline)
    kept = []
    workers.run_tasks(pow, [(2, 3), (3, 2), (5, 0)], kept.append, 2)
    assert sorted(kept) == [1, 8, 9]


def test_what_a_task_raises_is_raised_and_the_others_are_kept(monkeypatch):
    monkeypatch.setattr(workers, "ProcessPoolExecutor", Inline)
    kept = []
    with pytest.raises(ZeroDivisionError):
        workers.run_tasks(divmod, [(7, 2), (1, 0), (9, 2)], kept.append, 3)
    assert sorted(kept) == [(3, 1), (4, 1)]


def test_a_task_begins_when_it_is_ready_before_those_that_matter_less_and_never_where_it_never_is(monkeypatch):
    monkeypatch.setattr(workers, "ProcessPoolExecutor", Inline)
    kept = []
    tasks = [(number,) for number in (-1, -2, -3, -4)]
    after = {-1: 3, -2: 5}  # the result that each waits for
    workers.run_tasks(abs, tasks, kept.append, 1, lambda task: after.get(task[0]) in (None, *kept))
    assert kept == [3, 1, 4]


def test_a_process_that_is_no_worker_never_stops(monkeypatch):
    assert not workers.stopping()
    event = threading.Event()
    monkeypatch.setattr(workers, "_stop", event.is_set)
    assert not workers.stopping()
    event.set()
    assert workers.stopping()


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="masks of POSIX")
def test_processes_that_begin_do_not_hear_ctrl_c_and_this_one_does_again():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with workers._interrupts_blocked():
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
