"""`lzero watch`: once, to the end of a run in another process, and left by Ctrl-C."""

import os
import signal
import subprocess
import sys
import time

import pytest
from commands import TRAIN, error_line
from lab.watched import epochs, run_folder, written

from lzero_lab.cli import main
from lzero_lab.lock import alone_in

COMMAND = [sys.executable, "-W", "ignore", "-c", "import sys; from lzero_lab.cli import main; sys.exit(main())"]
ENTER, LEAVE, CURSOR = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"


def test_a_pipe_gets_one_frame_of_a_finished_run(trained, capsys):
    before = {path: path.stat().st_mtime_ns for path in trained.iterdir()}
    assert main(["watch", str(trained)]) == 0
    out = capsys.readouterr().out
    assert "finished" in out and "test error" in out and "\x1b" not in out and "mlp on digits" in out
    assert max(map(len, out.splitlines())) <= 100
    assert before == {path: path.stat().st_mtime_ns for path in trained.iterdir()}


def test_once_of_a_csv_and_of_what_is_no_run(tmp_path, capsys):
    written(tmp_path / "rows.csv", epochs(4))
    assert main(["watch", str(tmp_path / "rows.csv"), "--once"]) == 0
    assert "epoch 4, step 36" in capsys.readouterr().out
    assert main(["watch", str(tmp_path / "none")]) == 1
    assert "none: nothing to watch; expected a run folder of lzero" in error_line(capsys)
    (tmp_path / "text.csv").write_text('"')
    assert main(["watch", str(tmp_path / "text.csv")]) == 1
    assert "text.csv: not readable as a CSV of rows" in error_line(capsys)


def terminal(*arguments):
    """The command on a terminal of its own, and what is read of it."""
    pty = pytest.importorskip("pty")
    here, there = pty.openpty()
    size = pytest.importorskip("termios")
    import fcntl
    import struct

    fcntl.ioctl(there, size.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdin=there, stdout=there, stderr=there, env=os.environ | {"TERM": "xterm"}
    )
    os.close(there)
    return process, here


def read_until(handle, words, seconds=60):
    """Everything that was written until ``words`` were, or to the end."""
    text, deadline = b"", time.monotonic() + seconds
    while words not in text and time.monotonic() < deadline:
        try:
            text += os.read(handle, 65536)
        except OSError:  # the end, on Linux
            break
    return text


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
@pytest.mark.skipif(os.name != "posix", reason="terminals of POSIX")
def test_ctrl_c_leaves_the_terminal_clean_and_the_training_alone(tmp_path):
    folder = run_folder(tmp_path / "run", 4)
    with alone_in(folder):
        process, handle = terminal("watch", str(folder), "--every", "0.1")
        text = read_until(handle, b"epoch 4")
        written(folder / "rows.csv", epochs(5))
        text += read_until(handle, b"epoch 5")
        process.send_signal(signal.SIGINT)
        text += read_until(handle, b"nothing of the kind")
        assert process.wait(60) == 0
    assert ENTER in text and text.count(ENTER) == text.count(LEAVE) == 1
    after = text.split(LEAVE)[1]
    assert b"epoch 5" in after and text.rindex(CURSOR) > text.rindex(b"\x1b[?25l")
    assert b"Traceback" not in text and b"interrupted" not in text
    os.close(handle)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="terminals of POSIX")
def test_a_run_in_another_process_is_watched_to_its_end(tmp_path):
    folder = tmp_path / "run"
    command = [*COMMAND, *TRAIN, "--epochs", "150", "--batch-size", "32", "--out", str(folder)]
    training = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while not (folder / "config.json").exists():
        assert training.poll() is None
        time.sleep(0.05)
    process, handle = terminal("watch", str(folder), "--every", "0.1")
    text = read_until(handle, b"run: finished", 120)
    assert process.wait(60) == 0 and training.wait(60) == 0
    assert b"process %d on" % training.pid in text and b"test error" in text.split(LEAVE)[-1]
    os.close(handle)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="terminals of POSIX")
def test_a_training_that_is_killed_while_it_is_watched_is_said_to_have_stopped(tmp_path):
    folder = tmp_path / "run"
    command = [*COMMAND, *TRAIN, "--epochs", "2000", "--batch-size", "32", "--out", str(folder)]
    training = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while not (folder / "rows.csv").exists():
        assert training.poll() is None
        time.sleep(0.05)
    process, handle = terminal("watch", str(folder), "--every", "0.1")
    text = read_until(handle, b"epoch ")
    training.kill()
    training.wait()
    text += read_until(handle, b"nothing of the kind")
    last = b" ".join(text.split(LEAVE)[-1].split())  # a line is broken where its numbers make it long
    assert process.wait(60) == 0 and b"no process is at work in the folder" in last
    os.close(handle)
