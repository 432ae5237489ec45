"""Workers of a scheduler that are processes: whoever is killed, the study is that of local processes."""

import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest
from inline import Inline
from killing import content
from lab.schedulers import scheduler
from small_study import TEXT
from waiting import limited, started, wait_for

from lzero.recorder import Recorder
from lzero_lab.datasets import load
from lzero_lab.lock import alone_in
from lzero_lab.studies import workers
from lzero_lab.studies.cell import Cell
from lzero_lab.studies.cells import EPOCHS, run_cells
from lzero_lab.studies.cluster import Cluster
from lzero_lab.training.recipe import Recipe
from lzero_lab.training.training import Training

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
distributed = pytest.importorskip("distributed")

CELL = Cell("digits", Recipe(target=0.5, epochs=16, batch_size=64))


def test_a_training_whose_worker_is_killed_goes_on_from_its_checkpoint_on_another_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    killed = []

    def kill_one(client):
        wait_for(lambda: list(tmp_path.glob("far/[!.]*.pt")), 60)
        shutil.copy(*tmp_path.glob("far/[!.]*.pt"), tmp_path / "before.pt")
        killed.append(kill(client, *at_work(client)))

    with limited(120), scheduler(2, processes=True) as here, distributed.Client(here) as client:
        killer = threading.Thread(target=kill_one, args=(client,), daemon=True)
        with Cluster(here.scheduler_address) as there:
            killer.start()
            run_cells([CELL], "far/cells.csv", cluster=there, folder="far")
        killer.join(60)
        assert len(killed) == 1 and killed[0] not in client.nthreads()
    before = Training(CELL.recipe, load("digits")).load(tmp_path / "before.pt").recorder.rows
    after = Recorder.from_csv(tmp_path / "far" / EPOCHS).rows
    assert [row["seconds"] for row in after[: len(before)]] == [row["seconds"] for row in before] != []
    monkeypatch.setattr(workers, "ProcessPoolExecutor", Inline)
    run_cells([CELL], "near/cells.csv", folder="near")
    assert left_in("far") == content("near")


def at_work(client):
    """The workers that have something to do."""
    return [worker for worker, keys in client.processing().items() if keys]


def kill(client, worker):
    """Kill the process of the worker; the scheduler starts another one."""
    os.kill(client.run(os.getpid, workers=[worker])[worker], signal.SIGKILL)
    return worker


def left_in(folder):
    """Its content, without what a process that was killed had half written: whoever comes next removes that."""
    with alone_in(folder):
        pass
    return content(folder)


STUDY = TEXT.replace("steps = 12", "epochs = 40").replace("steps = 9", "epochs = 30")
COMMAND = "import sys; from lzero_lab.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_a_study_that_was_interrupted_and_whose_worker_was_killed_is_that_of_local_processes(tmp_path):
    (tmp_path / "study.toml").write_text(STUDY)
    command = [sys.executable, "-c", COMMAND, "study", "study.toml", "--device", "cpu", "--out"]
    with limited(900), scheduler(2, processes=True) as there, distributed.Client(there) as client:
        far = [*command, "far", "--scheduler", there.scheduler_address]
        with started(far, tmp_path) as study:
            wait_for(lambda: len(list(tmp_path.glob("far/[!.]*.pt"))) >= 2)
            os.killpg(study.pid, signal.SIGINT)
            _, said = study.communicate(timeout=300)
        assert study.returncode == 130 and said == "lzero: interrupted; run the command again\n"
        assert not at_work(client) and list(tmp_path.glob("far/[!.]*.pt"))
        with started(far, tmp_path) as study:
            wait_for(lambda: len(at_work(client)) == 2)
            killed = kill(client, at_work(client)[0])
            _, said = study.communicate(timeout=300)
        assert (study.returncode, said) == (0, "") and killed not in client.nthreads()
        subprocess.run([*command, "near", "--workers", "2"], cwd=tmp_path, check=True, timeout=300)
    far, near = ({**left_in(tmp_path / name), "table.md": None} for name in ("far", "near"))  # it has seconds
    assert far == near
