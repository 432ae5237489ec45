"""Commands that are killed (SIGKILL) at a moment of their own, and what they leave behind as plain values.

Run as a program this is a mother of processes: it imports everything once, and forks a child for every command that it
reads, a line of JSON each, from its input.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from lzero.recorder import Recorder

MEASURED = {"seconds"}  # what no two runs have in common
_LIMIT = 900  # seconds for one command on a machine that is busy with others


class Mother:
    """Processes of ``lzero`` that start at once, in the folder ``path``."""

    def __init__(self, path):
        self._process = subprocess.Popen(
            [sys.executable, __file__], cwd=path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()

    def run(self, *arguments, after=None, at=None, group=False, user=None):
        """How the command ended, after how many ``seconds`` and file ``events``, and what it ``said``.

        It is killed ``after`` so many seconds, with its workers if ``group``; or ``at`` an event: the opening of a file
        for writing, which is then cut in half, or a renaming, making or removing. It runs as the
        ``user`` of that number.
        """
        order = {"arguments": list(map(str, arguments)), "after": after, "at": at, "group": group, "user": user}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def content(folder):
    """Everything below ``folder`` by its path, without measured times."""
    return {str(path.relative_to(folder)): _plain(path) for path in sorted(Path(folder).rglob("*")) if path.is_file()}


def _plain(path):
    if path.suffix == ".csv":
        rows = Recorder.from_csv(path).rows  # those of a study in the order in which its trainings ended
        return _untimed(sorted(rows, key=lambda row: row.get("cell", "")))
    if path.suffix == ".json":
        return _untimed(json.loads(path.read_text()))
    if path.suffix == ".pt":
        return _untimed(torch.load(path, weights_only=True))
    if path.suffix == ".md":  # the last column of the table of a study is its time
        return [line.rstrip("| ").rpartition("|")[0] if line.startswith("|") else line for line in path.open()]
    return path.read_bytes()


def _untimed(value):
    if isinstance(value, dict):
        return {name: _untimed(entry) for name, entry in value.items() if name not in MEASURED}
    if isinstance(value, list | tuple):
        return [_untimed(entry) for entry in value]
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return value


def _mother():
    from lzero_lab import datasets
    from lzero_lab.cli.main import _commands

    torch.set_num_threads(1)
    datasets.load("digits")
    _commands()
    for line in sys.stdin:
        order = json.loads(line)
        begun = time.monotonic()
        here, there = os.pipe()
        child = os.fork()
        if not child:
            os.close(here)
            _child(order, there)
        os.close(there)
        killed = _wait(child, order)
        status = os.waitpid(child, 0)[1]
        if killed or os.WIFSIGNALED(status):
            _kill_group(child, order["group"])
        with open(here, "rb") as pipe:
            events = pipe.read().decode("utf-8", "replace").splitlines()
        said = Path(f".said-{child}")
        answer = {
            "code": os.waitstatus_to_exitcode(status),
            "seconds": time.monotonic() - begun,
            "events": events,
            "said": said.read_text(encoding="utf-8", errors="replace"),
        }
        said.unlink()
        print(json.dumps(answer), flush=True)


def _wait(child, order):
    """Whether the child was killed for want of time: the time that it was given, or all that there is."""
    limit = _LIMIT if order["after"] is None else order["after"]
    handle = os.pidfd_open(child)
    ended, _, _ = select.select([handle], [], [], limit)
    os.close(handle)
    if not ended:
        os.kill(child, signal.SIGKILL)
    return not ended


def _kill_group(child, workers_too):
    """Workers of a study notice the death of their parent; where they are killed too, they have no time for that."""
    try:
        if workers_too:
            os.killpg(child, signal.SIGKILL)
        for _ in range(10 * _LIMIT):  # until nobody of the group is left
            os.killpg(child, 0)
            time.sleep(0.1)
    except ProcessLookupError:
        return


def _child(order, pipe):
    os.setsid()
    said = os.open(f".said-{os.getpid()}", os.O_WRONLY | os.O_CREAT)
    for number, handle in ((0, os.open(os.devnull, os.O_RDONLY)), (1, said), (2, said)):
        os.dup2(handle, number)
    if order["user"] is not None:
        os.setuid(order["user"])
    _watch(order["at"], pipe)
    from lzero_lab.cli import main

    code = main(order["arguments"])
    sys.stdout.flush()
    os._exit(code)


def _watch(last, pipe):
    """Tells what happens to files, a line each into the pipe, and kills this process at the ``last`` of it."""
    count = 0

    def see(event, values):
        nonlocal count
        if event not in ("open", "os.rename", "os.remove", "os.mkdir") or isinstance(values[0], int):
            return
        place, opened = os.fsdecode(values[0]), event == "open"
        if opened and (not values[2] & (os.O_WRONLY | os.O_RDWR) or place.startswith("/dev")):
            return
        count += 1
        os.write(pipe, f"{event} {os.path.basename(place)}\n".encode("utf-8", "replace"))
        if count == last:
            if opened and os.path.exists(place):
                os.truncate(place, os.path.getsize(place) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(see)


if __name__ == "__main__":
    _mother()
