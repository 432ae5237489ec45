"""Workers of a scheduler: the rows of local processes; and who cannot take part is told."""

import os
import signal
import sys
import time
from concurrent.futures import CancelledError
from types import SimpleNamespace

import pytest
from inline import Inline
from killing import content
from lab.schedulers import scheduler
from small_study import TEXT
from waiting import limited, wait_for

from lzero.errors import LzeroError
from lzero.files import is_temporary
from lzero.recorder import Recorder
from lzero_lab.cli import main
from lzero_lab.datasets import load
from lzero_lab.errors import DataError
from lzero_lab.studies import cell as cell_module
from lzero_lab.studies import cluster, workers
from lzero_lab.studies.cell import Cell
from lzero_lab.studies.cells import run_cells
from lzero_lab.studies.cluster import Cluster
from lzero_lab.training.recipe import Recipe
from lzero_lab.training.training import Training

distributed = pytest.importorskip("distributed")

DENSE = Cell("digits", Recipe(method="dense", steps=12, batch_size=64), labels=(("label", "d"),), begins_others=True)
LATER = Cell("digits", Recipe(target=0.5, steps=3, batch_size=64, start=DENSE.file_name, distil=0.5))


@pytest.fixture(scope="module")
def address():
    """Of a scheduler with two workers, threads of this process."""
    with scheduler(2) as there:
        yield there.scheduler_address


@pytest.fixture(autouse=True)
def limit():
    """Whoever waits here for somebody else does so for two minutes at the most."""
    with limited(120):
        yield


def test_a_folder_is_what_local_processes_leave_and_a_training_waits_for_what_it_begins_with(
    address, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with Cluster(address) as there:
        assert there.workers == 2
        rows = run_cells([LATER, DENSE], "cluster/cells.csv", cluster=there, folder="cluster").rows
        assert [row["cell"] for row in rows] == [DENSE.key, LATER.key]
        assert run_cells([LATER, DENSE], "cluster/cells.csv", cluster=there, folder="cluster").rows == rows
    monkeypatch.setattr(workers, "ProcessPoolExecutor", Inline)
    run_cells([LATER, DENSE], "local/cells.csv", folder="local")
    assert content("cluster") == content("local")


def test_no_epoch_begins_after_so_many_hours_and_the_next_run_goes_on(address, tmp_path, monkeypatch):
    cell = Cell("digits", Recipe(target=0.5, epochs=3, batch_size=256))
    later = SimpleNamespace(time=lambda: time.time() + 3600 * len(list(tmp_path.glob("*.pt"))))  # an hour an epoch
    with Cluster(address) as there:
        with monkeypatch.context() as patch:
            patch.setattr(cell_module, "time", later)
            assert run_cells([cell], tmp_path / "cells.csv", cluster=there, folder=tmp_path, hours=0.5).rows == []
        assert Training(cell.recipe, load("digits")).load(*tmp_path.glob("*.pt")).epoch == 1
        (row,) = run_cells([cell], tmp_path / "cells.csv", cluster=there, folder=tmp_path).rows
    assert row["epochs"] == 3


@pytest.mark.usefixtures("interruptible")
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(("epochs", "kept"), [(1, 1), (100_000, 0)])
def test_after_ctrl_c_no_epoch_begins_and_what_was_finished_by_then_is_kept(
    address, tmp_path, monkeypatch, epochs, kept
):
    cell = Cell("digits", Recipe(target=0.5, epochs=epochs))
    run_epoch = Training.run_epoch

    def interrupted(training):
        os.kill(os.getpid(), signal.SIGINT)
        wait_for(lambda: not list(tmp_path.glob(".study.*")), 60)
        return run_epoch(training)

    monkeypatch.setattr(Training, "run_epoch", interrupted)
    with Cluster(address) as there:
        with pytest.raises(KeyboardInterrupt):
            run_cells([cell], tmp_path / "cells.csv", cluster=there, folder=tmp_path)
        assert not any(there._client.processing().values())
    table = tmp_path / "cells.csv"
    assert len(Recorder.from_csv(table) if table.exists() else []) == kept
    for checkpoint in tmp_path.glob("*.pt"):
        assert not kept and Training(cell.recipe, load("digits")).load(checkpoint).epoch == 1
    assert len(list(tmp_path.glob("*.pt"))) == 1 - kept


def test_a_task_whose_submission_is_interrupted_is_waited_for_and_kept(address, tmp_path, monkeypatch):
    kept = []
    with Cluster(address) as there:
        submit = there._client.submit

        def interrupted(*arguments, **options):
            submitted.append(submit(*arguments, **options))
            wait_for(lambda: any(there._client.processing().values()), 60)
            raise KeyboardInterrupt

        submitted = []
        monkeypatch.setattr(there._client, "submit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            there.run(slowly, [(7,)], kept.append, tmp_path)
        assert kept == [7] and not any(there._client.processing().values())


def slowly(value):
    time.sleep(0.3)
    return value


def test_what_a_task_raises_ends_the_study_and_the_others_are_kept(address, tmp_path):
    kept = []
    with Cluster(address) as there, pytest.raises(ZeroDivisionError):
        there.run(divmod, [(7, 2), (1, 0), (9, 2)], kept.append, tmp_path)
    assert set(kept) <= {(3, 1), (4, 1)} and not list(tmp_path.iterdir())


def test_who_cannot_take_part_is_told_before_anything_begins(address, tmp_path, monkeypatch):
    def refused(match, device="cpu", at=address):
        with Cluster(at) as there, pytest.raises(DataError, match=match):
            there.run(pytest.fail, [("began",)], [].append, tmp_path, device)

    with monkeypatch.context() as patch:
        patch.setattr(cluster, "__version__", "0.0.9")
        there = Cluster(address)
        patch.setattr(there._client, "run", lambda *_, **__: {"tcp://b:1": "0.1.0"})
        with there, pytest.raises(DataError, match=r"worker tcp://b:1: expected lzero 0\.0\.9 as here, found 0\.1\.0"):
            there.run(pytest.fail, [()], print, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(cluster.torch.cuda, "is_available", lambda: False)
        refused("PyTorch sees no GPU there; use --device cpu, or workers that have one", device="cuda")
    with monkeypatch.context() as patch:
        patch.setattr(cluster, "_look", lost_sight)
        refused(r"worker on .* does not see the folder .* of the study; name one that all machines share")
    with scheduler(1, threads_per_worker=2) as other:
        refused("has 2 threads, where one training is one thread", at=other.scheduler_address)
    with scheduler(0) as other:
        refused("has no workers; start some with: dask worker tcp://", at=other.scheduler_address)
        gone = other.scheduler_address
    with monkeypatch.context() as patch:
        patch.setattr(cluster, "_PATIENCE", 0.5)
        for nobody in (gone, "no address"):
            with pytest.raises(DataError, match=f"^{nobody}: no scheduler answers there .*: dask scheduler$"):
                Cluster(nobody)
    with Cluster(address) as there, pytest.raises(DataError, match=r"leave what they train in a folder .* pass folder"):
        run_cells([DENSE], tmp_path / "cells.csv", cluster=there)
    assert not list(tmp_path.iterdir())


look = cluster._look


def lost_sight(mark, device):
    """What a worker finds where the folder of that name is another one."""
    return look(mark.with_name("other"), device)


def test_without_distributed_the_command_says_in_one_line_what_to_install(tmp_path, monkeypatch, capsys):
    (tmp_path / "study.toml").write_text(TEXT)
    monkeypatch.setitem(sys.modules, "distributed", None)  # an import of it fails, as where it is not installed
    command = ["study", str(tmp_path / "study.toml"), "--out", str(tmp_path / "out")]
    assert main([*command, "--scheduler", "tcp://10.0.0.1:8786"]) == 1
    expected = "lzero: error: --scheduler needs distributed; install it with: pip install 'lzero[cluster]'\n"
    assert capsys.readouterr().err == expected


def test_a_worker_that_comes_later_and_does_not_see_the_folder_ends_the_study(address, tmp_path):
    with Cluster(address) as there:
        future = there._client.submit(cluster._call, abs, (-1,), tmp_path / ".study.0123456789abcdef", "cpu")
        with pytest.raises(DataError, match="does not see the folder"):
            future.result()


def died(_):
    raise distributed.KilledWorker("a task", SimpleNamespace(address="tcp://b:1"), 3)


def test_a_training_under_which_several_workers_ended_is_one_line(address, tmp_path):
    with Cluster(address) as there, pytest.raises(LzeroError, match=r"several workers ended .* tcp://b:1, .* run this"):
        there.run(died, [(1,)], [].append, tmp_path)


def test_a_scheduler_that_ends_on_the_way_is_one_line(address, tmp_path, monkeypatch):
    def fails(*_):
        raise distributed.comm.CommClosedError("gone")

    kept = []
    message = rf"^{address}: the scheduler is gone; finished trainings are saved.* when it is back$"
    with Cluster(address) as there:
        with pytest.raises(LzeroError, match=message):
            there.run(gives_up, [(1,)], kept.append, tmp_path)
        monkeypatch.setattr(there._client, "processing", fails)
        with pytest.raises(ZeroDivisionError):  # what has happened before that
            there.run(divmod, [(1, 0), (7, 2)], kept.append, tmp_path)
        monkeypatch.setattr(there._client, "nthreads", fails)
        with pytest.raises(LzeroError, match=message):
            there.run(abs, [(1,)], kept.append, tmp_path)
    assert kept in ([], [(3, 1)]) and not list(tmp_path.iterdir())


def gives_up(_):
    raise CancelledError("scheduler-connection-lost")


def test_the_mark_of_a_study_that_was_killed_is_removed_by_the_next_one(tmp_path):
    with cluster._mark(tmp_path / "new") as mark:
        assert is_temporary(mark.name) and mark.parent.is_dir()
    assert not mark.exists()


def test_the_command_trains_on_the_workers_of_a_scheduler(address, tmp_path, capsys):
    (tmp_path / "study.toml").write_text(TEXT)
    command = ["study", str(tmp_path / "study.toml"), "--budgets", "half", "--methods", "constrained"]
    command += ["--out", str(tmp_path / "out"), "--device", "cpu", "--scheduler", address]
    assert main([*command, "--seeds", "0"]) == 0
    assert "1 of 1 trainings finished, 0 failed" in capsys.readouterr().out
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "trainings to go: 1, about " in said and "hours on cpu at 2 a time" in said and "2 of 2" in said
    assert main([*command, "--trial", "1"]) == 2 and "leave out one of them" in capsys.readouterr().err
    assert main([*command, "--workers", "2"]) == 2 and "not allowed with" in capsys.readouterr().err
