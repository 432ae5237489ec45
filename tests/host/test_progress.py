"""A bar for whoever looks: after two seconds, on a terminal, and never a word otherwise."""

import builtins
import io
import sys

import pytest
import torch
from torch import nn

import lzero
from lzero.errors import StructureError
from lzero.host import progress as module
from lzero.host.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def on_terminal(monkeypatch):
    """What a terminal shows from now on; pytest sets another one up before a test begins."""
    pytest.importorskip("tqdm")
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


def some_work(clock, show, seconds):
    with Progress("proving", show) as progress:
        progress.more(4)
        for _ in range(4):
            clock[0] += seconds / 4
            progress.done(1)


@pytest.mark.parametrize(("show", "seconds", "seen"), [(None, 9, True), (None, 1, False), (False, 9, False)])
def test_a_bar_appears_on_a_terminal_after_two_seconds(show, seconds, seen, clock, monkeypatch):
    terminal = on_terminal(monkeypatch)
    some_work(clock, show, seconds)
    assert ("proving" in terminal.getvalue() and "/4" in terminal.getvalue()) == seen
    assert bool(terminal.getvalue()) == seen


@pytest.mark.parametrize(("show", "seen"), [(None, False), (True, True)])
def test_elsewhere_one_that_is_asked_for(show, seen, clock, monkeypatch):
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    some_work(clock, show, 9)
    assert ("proving" in log.getvalue()) == seen


def test_without_tqdm_there_is_none(clock, monkeypatch):
    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    found = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "tqdm":
            raise ImportError(name)
        return found(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    some_work(clock, None, 9)
    assert screen.getvalue() == ""
    with pytest.raises(StructureError, match="progress=True: tqdm is not installed"):
        Progress("proving", show=True)


def test_what_takes_longer_than_was_known_never_counts_too_far(clock, monkeypatch):
    terminal = on_terminal(monkeypatch)
    with Progress("proving", None) as progress:
        progress.more(2)
        clock[0] += 3
        progress.done(5)
        progress.more(1)
        progress.finish()
    assert "2/2" in terminal.getvalue() and "/1" not in terminal.getvalue()


def test_discovery_counts_its_groups(monkeypatch):
    seen = []
    monkeypatch.setattr(module.Progress, "tick", lambda self: seen.append((self._done, self._total)))
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2))
    assert len(lzero.discover(model, torch.rand(2, 3))) == 2
    assert seen[-1] == (2, 2) and (0, 2) in seen and len(seen) > 8  # the proof goes on in between
    assert seen == sorted(seen)


def test_a_bar_says_what_it_counts(clock, monkeypatch):
    terminal = on_terminal(monkeypatch)
    with module.Progress("timing", None, unit="layers") as progress:
        progress.more(2)
        clock[0] += 9
        progress.done(1)
    assert "layers" in terminal.getvalue() and "groups" not in terminal.getvalue()


def test_nothing_is_shown_of_a_short_call(monkeypatch):
    terminal = on_terminal(monkeypatch)
    lzero.attach_gates(nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)), torch.rand(2, 3))
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("verb", [lzero.discover, lzero.attach_gates])
def test_another_answer_is_refused(verb):
    with pytest.raises(StructureError, match="progress: expected True, False or None"):
        verb(nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)), torch.rand(2, 3), progress="yes")
