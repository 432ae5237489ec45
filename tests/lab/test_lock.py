"""One command at a time in a folder: who is kept out, what is said, and what a kill leaves."""

import errno
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from lzero_lab import lock
from lzero_lab.errors import DataError
from lzero_lab.lock import LOCK, alone_in

posix = pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")


@pytest.fixture
def holder(tmp_path):
    """Another process that is alone in the folder, until it is killed."""
    code = """
        import sys, time
        from lzero_lab.lock import alone_in
        with alone_in(sys.argv[1]):
            print("held", flush=True)
            time.sleep(600)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), tmp_path], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


@posix
def test_another_process_is_kept_out_and_told_who_is_there_until_that_is_killed(tmp_path, holder):
    with pytest.raises(DataError, match=f"process {holder.pid} on .* is at work in it; wait for its end, or choose"):
        alone_in(tmp_path).__enter__()
    with alone_in(tmp_path / "below"):  # another folder
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / LOCK).exists()
    with alone_in(tmp_path):
        assert f"process {os.getpid()} on " in (tmp_path / LOCK).read_text()
    assert not (tmp_path / LOCK).exists()


@posix
def test_who_is_at_work_is_known_without_a_trace_and_nobody_is_once_killed(tmp_path, holder):
    assert lock.holder(tmp_path / "none") is None
    before = (tmp_path / LOCK).stat().st_mtime_ns
    assert lock.holder(tmp_path) == (tmp_path / LOCK).read_text().strip()
    assert lock.holder(tmp_path).startswith(f"process {holder.pid} on ")
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / LOCK).stat().st_mtime_ns == before and lock.holder(tmp_path) is None
    (tmp_path / LOCK).write_text(f"process {os.getpid()} on {os.uname().nodename}\n")  # its number was given again
    assert lock.holder(tmp_path) is None
    with alone_in(tmp_path):
        assert lock.holder(tmp_path).startswith(f"process {os.getpid()} on ")
    (tmp_path / LOCK).write_text("process 1 on somewhere else\n")  # a folder that machines share
    assert lock.holder(tmp_path) == "process 1 on somewhere else"
    (tmp_path / LOCK).write_text("")
    assert lock.holder(tmp_path) == "another process"


@posix
def test_it_ends_with_its_block_however_that_ends_and_leaves_nothing(tmp_path):
    folder = tmp_path / "new" / "run"
    with pytest.raises(KeyboardInterrupt), alone_in(folder):
        with pytest.raises(DataError, match=f"process {os.getpid()} "), alone_in(folder):
            pass
        raise KeyboardInterrupt
    with alone_in(folder) as path:
        assert path == folder
    assert list(folder.iterdir()) == []


@posix
def test_what_a_killed_process_was_writing_is_removed_and_nothing_else(tmp_path):
    left = [".config.0123456789abcdef.json", ".no suffix.0123456789abcdef", "..0123456789abcdef.pt"]
    kept = [".config.0123456789abcde.json", "config.0123456789abcdef.json", ".hidden", ".a.0123456789ABCDEF.csv"]
    for name in (*left, *kept):
        (tmp_path / name).write_text("x")
    (tmp_path / ".folder.0123456789abcdef").mkdir()
    with alone_in(tmp_path):
        assert {path.name for path in tmp_path.iterdir()} == {*kept, ".folder.0123456789abcdef", LOCK}


@posix
def test_a_lock_whose_holder_removed_it_meanwhile_is_taken_anew(tmp_path, monkeypatch):
    flock, calls = lock.fcntl.flock, []

    def late(handle, how):
        if not calls:
            (tmp_path / LOCK).unlink()  # the holder ends between our opening the file and our locking it
        calls.append(handle)
        flock(handle, how)

    monkeypatch.setattr(lock.fcntl, "flock", late)
    with alone_in(tmp_path), pytest.raises(DataError, match="is at work in it"), alone_in(tmp_path):
        pass
    assert len(calls) == 3


@posix
def test_a_file_system_without_locks_keeps_nobody_out_and_other_problems_are_said(tmp_path, monkeypatch):
    def fails(number):
        def flock(*_):
            raise OSError(number, os.strerror(number))

        return flock

    (tmp_path / ".a.0123456789abcdef.csv").touch()
    monkeypatch.setattr(lock.fcntl, "flock", fails(errno.ENOLCK))
    with alone_in(tmp_path), alone_in(tmp_path):
        assert (tmp_path / ".a.0123456789abcdef.csv").exists()  # somebody may be at it
    monkeypatch.setattr(lock.fcntl, "flock", fails(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"), alone_in(tmp_path):
        pass


def test_a_file_in_the_place_of_the_folder_is_said(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(DataError, match=r"file: is a file; choose another folder \(--out\)"),
        alone_in(tmp_path / "file"),
    ):
        pass


@posix
def test_a_full_disk_does_not_keep_from_locking(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with (
        alone_in(tmp_path),
        pytest.raises(DataError, match="another process is at work in it"),
        alone_in(tmp_path),
    ):
        pass
