"""Waits that end, and processes that no test leaves behind."""

import os
import signal
import subprocess
import time
from contextlib import contextmanager, suppress

import pytest


def wait_for(condition, seconds=300):
    """Return as soon as the condition is met."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"it did not happen in {seconds} seconds")
        time.sleep(0.05)


@contextmanager
def limited(seconds):
    """The test fails after so many seconds, whatever it waits for, and again where it then waits elsewhere."""
    if not hasattr(signal, "setitimer"):  # Windows
        yield
        return

    def late(*_):
        pytest.fail(f"it did not end in {seconds} seconds")  # no Exception, which what waits might handle

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds, 30)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def started(command, folder):
    """The process of a command, in a group of its own, of which nobody is left at the end."""
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
