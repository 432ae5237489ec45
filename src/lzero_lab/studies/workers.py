"""Processes that work through a list of tasks, and stop early where they are asked to."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from typing import Any, TypeVar

from lzero.errors import LzeroError
from lzero_lab.training.runtime import configure_cpu, exact_convolutions

T = TypeVar("T")
_stop: Callable[[], bool] | None = None  # in a worker: whether it is to stop


def run_tasks(
    function: Callable[..., T],
    tasks: Sequence[tuple[Any, ...]],
    keep: Callable[[T], None],
    workers: int,
    ready: Callable[[tuple[Any, ...]], bool] | None = None,
) -> None:
    """Call ``function`` with the arguments of every task, in so many processes, and ``keep`` with what it returned.

    ``keep`` is called in this process. On Ctrl-C, which workers do not hear, and on an exception of a task or of
    ``keep``, no further task begins, :func:`stopping` is true in the workers, and what they have finished until all of
    them came to an end is kept too. A result is kept twice where ``keep`` was interrupted.

    Args:
        function: what workers call.
        tasks: its arguments, in the order in which they begin.
        keep: gets every result.
        workers: how many processes.
        ready: whether a task can begin; it is asked again after every result. Those that never can are left out.

    Raises:
        LzeroError: a worker was killed.
    """
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(stop,))
    left, running = list(tasks), list[Future[T]]()

    def begin() -> None:
        able = [task for task in left if ready is None or ready(task)][: workers - len(running)]
        with _interrupts_blocked():
            for task in able:
                left.remove(task)
                running.append(pool.submit(function, *task))
            if able:
                pool.submit(stopping)  # a pool watches over the workers that it had when something was last submitted

    try:
        begin()
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                keep(future.result())
                running.remove(future)
            begin()
    except BrokenProcessPool as problem:
        raise LzeroError(
            "a worker was killed, by the system where memory ran out; finished trainings are saved, and others up to "
            "their last epoch where they have checkpoints: run this again, with fewer workers if memory is short"
        ) from problem
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
        for future in running:
            if not future.cancelled() and future.exception() is None:
                keep(future.result())


def stopping() -> bool:
    """Whether this process is a worker that is to stop as soon as it can."""
    return _stop is not None and _stop()


@contextmanager
def stopped_by(stop: Callable[[], bool]) -> Iterator[None]:
    """Within the context this process is a worker, and :func:`stopping` what ``stop`` says."""
    global _stop
    before, _stop = _stop, stop
    try:
        yield
    finally:
        _stop = before


def prepare() -> None:
    """Have this thread compute as every worker does, so that rows are the same to the bit wherever they come from."""
    configure_cpu(threads=1)
    exact_convolutions()


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes that begin within the context do not hear Ctrl-C, from their first instruction on."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(stop: Event) -> None:
    global _stop
    _stop = stop.is_set
    prepare()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A study that was killed leaves no worker behind; what it has trained lies in checkpoints."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
