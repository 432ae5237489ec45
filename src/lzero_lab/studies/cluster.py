"""The workers of a dask scheduler, on any number of machines, that work through a list of tasks."""

from __future__ import annotations

import logging
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import torch

from lzero.errors import LzeroError
from lzero.version import __version__
from lzero_lab.errors import DataError, needing
from lzero_lab.studies.workers import prepare, stopped_by

T = TypeVar("T")
_PATIENCE = 10.0  # seconds for a scheduler to answer
_LOOK = 2.0  # seconds from one look at who has come or gone to the next
_alone = threading.Lock()  # in a worker: trainings share the random generators of their process


class Cluster:
    """The workers of a scheduler of dask.distributed, while the context lasts; they belong to whoever started them.

    Every worker has one task at a time, those that come later too. What they share is a folder that all of them see
    under the same path.

    Args:
        address: of the scheduler, such as ``tcp://10.0.0.1:8786``, which it says when it starts.

    Raises:
        DataError: dask.distributed is not installed, or nobody answers at the address.
    """

    def __init__(self, address: str) -> None:
        with needing("distributed", "--scheduler", "cluster"):
            from distributed import Client
        self._address = address
        self._log = logging.getLogger("distributed.client")  # what it says on the terminal is raised here
        self._level = self._log.level
        self._log.setLevel(logging.CRITICAL)
        try:
            self._client = Client(address, timeout=_PATIENCE)
        except (OSError, ValueError) as problem:
            self._log.setLevel(self._level)
            raise DataError(
                f"{address}: no scheduler answers there ({problem}); start one with: dask scheduler"
            ) from problem

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._log.setLevel(self._level)

    @property
    def workers(self) -> int:
        """How many there are now.

        Raises:
            LzeroError: the scheduler is gone.
        """
        return len(self._asked(self._client.nthreads))

    def run(
        self,
        function: Callable[..., T],
        tasks: Sequence[tuple[Any, ...]],
        keep: Callable[[T], None],
        folder: str | os.PathLike[str],
        device: str = "cpu",
        ready: Callable[[tuple[Any, ...]], bool] | None = None,
    ) -> None:
        """What :func:`lzero_lab.studies.workers.run_tasks` does, on the workers of the cluster.

        The task of a worker that ends on the way is called again on another one.

        Args:
            function: what workers call.
            tasks: its arguments, in the order in which they begin.
            keep: gets every result, in this process.
            folder: an absolute path, which every worker is to see.
            device: where the tasks compute, which every worker is to have.
            ready: as there.

        Raises:
            DataError: a worker that cannot take part; nothing has begun where it was there from the start.
            LzeroError: several workers ended under one task, or the scheduler did.
        """
        with _mark(Path(folder)) as mark:
            self._check(mark, device)
            self._run(function, tasks, keep, mark, device, ready)

    def _check(self, mark: Path, device: str) -> None:
        """Every worker that is there now can take part.

        Raises:
            DataError: one cannot; the message names it.
        """
        start = f"dask worker {self._address} --nthreads 1 --nworkers N"
        threads = self._asked(self._client.nthreads)
        if not threads:
            raise DataError(f"{self._address}: the scheduler has no workers; start some with: {start}")
        for worker, count in threads.items():
            if count != 1:
                raise DataError(
                    f"worker {worker}: has {count} threads, where one training is one thread of a process; start it "
                    f"with: {start}"
                )
        for worker, found in self._client.run(_version, on_error="return").items():
            if found != __version__:
                raise DataError(
                    f"worker {worker}: expected lzero {__version__} as here, found {found}; install it there with: "
                    f"pip install 'lzero[lab,cluster]=={__version__}'"
                )
        self._client.run(_look, mark, device)

    def _run(
        self,
        function: Callable[..., T],
        tasks: Sequence[tuple[Any, ...]],
        keep: Callable[[T], None],
        mark: Path,
        device: str,
        ready: Callable[[tuple[Any, ...]], bool] | None,
    ) -> None:
        from distributed import wait
        from distributed.scheduler import KilledWorker

        left, running = list(tasks), dict[str, Any]()  # key of a task that has begun -> its future

        def begin() -> None:
            free = max(1, self.workers) - len(running)
            for task in [task for task in left if ready is None or ready(task)][: max(0, free)]:
                left.remove(task)
                key = f"training-{secrets.token_hex(8)}"
                running[key] = None  # a worker may have it before an interrupted call returns
                running[key] = self._client.submit(_call, function, task, mark, device, key=key, pure=False)

        try:
            begin()
            while running:
                with suppress(TimeoutError):
                    wait([*running.values()], timeout=_LOOK, return_when="FIRST_COMPLETED")
                for key in [key for key, future in running.items() if future.done()]:
                    keep(running[key].result())
                    del running[key]
                begin()
        except KilledWorker as problem:
            raise LzeroError(
                f"several workers ended while they had the same training, the last on {problem.last_worker.address}, "
                "where memory is short, perhaps; finished trainings are saved, and others up to their last epoch: run "
                "this again, with fewer workers a machine"
            ) from problem
        except CancelledError as problem:
            raise self._gone() from problem
        finally:
            mark.unlink(missing_ok=True)
            for future in self._ended(running):
                keep(future.result())

    def _ended(self, running: Mapping[str, Any]) -> list[Any]:
        """The futures of those ``running`` that have a result, when all that a worker has begun came to an end."""
        from distributed import Future

        futures = [Future(key, self._client) if future is None else future for key, future in running.items()]
        with suppress(LzeroError):
            while not all(future.done() for future in futures):
                begun = {key for keys in self._asked(self._client.processing).values() for key in keys}
                if all(future.done() or future.key not in begun for future in futures):
                    break
                time.sleep(0.1)
        return [future for future in futures if future.status == "finished"]

    def _asked(self, question: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        """What the scheduler answers.

        Raises:
            LzeroError: it is gone.
        """
        try:
            return question()
        except (OSError, RuntimeError) as problem:  # RuntimeError: of a client that has given up on it
            raise self._gone() from problem

    def _gone(self) -> LzeroError:
        return LzeroError(
            f"{self._address}: the scheduler is gone; finished trainings are saved, and others up to their last epoch: "
            "run this again when it is back"
        )


@contextmanager
def _mark(folder: Path) -> Iterator[Path]:
    """A file in the ``folder`` by which workers know it from another one of that name, and stop when it is gone.

    It is called as temporary files are, so that the next study in the folder removes it where this process was killed.
    """
    mark = folder / f".study.{secrets.token_hex(8)}"
    folder.mkdir(parents=True, exist_ok=True)
    mark.touch()
    try:
        yield mark
    finally:
        mark.unlink(missing_ok=True)


def _version() -> str:
    """In a worker: the version of lzero that it has."""
    return __version__


def _look(mark: Path, device: str) -> None:
    """In a worker: it sees what the study needs.

    Raises:
        DataError: it does not.
    """
    machine = f"worker on {platform.node() or 'another machine'}, process {os.getpid()}"
    if not mark.exists():
        raise DataError(
            f"{machine}: does not see the folder {mark.parent} of the study; name one that all machines share under "
            "that path (--out)"
        )
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise DataError(f"{machine}: PyTorch sees no GPU there; use --device cpu, or workers that have one")


def _call(function: Callable[..., T], task: tuple[Any, ...], mark: Path, device: str) -> T:
    """In a worker: what the ``function`` returns for the task, alone in the process, and told to stop by the mark."""
    with _alone, stopped_by(lambda: not mark.exists()):
        _look(mark, device)
        prepare()
        return function(*task)
