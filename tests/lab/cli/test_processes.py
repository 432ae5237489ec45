"""The command line as a process of its own: closed pipes, full and read-only disks, other languages, company."""

import os
import shutil
import subprocess
import sys

import pytest
from commands import TRAIN, error_line, names
from inline import Inline
from killing import Mother, content
from small_study import TEXT

from lzero_lab.cli import main
from lzero_lab.lock import LOCK, alone_in
from lzero_lab.studies import workers

COMMAND = [sys.executable, "-W", "ignore", "-c", "import sys; from lzero_lab.cli import main; sys.exit(main())"]
NOBODY = 65534
posix = pytest.mark.skipif(os.name != "posix", reason="processes of POSIX")


def lzero(*arguments, **options):
    buffered = os.environ | {"PYTHONUNBUFFERED": ""}  # argparse hides what goes wrong where it is not
    options = {"stdout": subprocess.PIPE, "timeout": 900, "env": buffered, **options}
    return subprocess.run([*COMMAND, *arguments], stderr=subprocess.PIPE, **options)


@posix
def test_a_pipe_that_nobody_reads_is_one_line_and_exit_code_1():
    here, there = os.pipe()
    os.close(here)
    ended = lzero("info", stdout=there)
    os.close(there)
    assert ended.returncode == 1
    assert (
        ended.stderr
        == b"lzero: error: standard output was closed before all was shown; what belongs into files is there\n"
    )


@posix
@pytest.mark.slow
def test_help_into_a_closed_pipe_and_a_full_device_are_one_line_too():
    here, there = os.pipe()
    os.close(here)
    for arguments in (["--help"], ["study", "--help"], ["--version"]):
        ended = lzero(*arguments, stdout=there)
        assert (ended.returncode, ended.stderr.count(b"\n")) == (1, 1)
    with open("/dev/full", "w") as full:
        ended = lzero("info", stdout=full)
    assert (ended.returncode, ended.stderr.count(b"\n")) == (1, 1) and b"No space left on device" in ended.stderr


@posix
@pytest.mark.slow
def test_streams_that_are_closed_from_the_start_cost_nothing(tmp_path):
    command = [*COMMAND, *TRAIN, "--out", str(tmp_path / "run")]
    ended = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command], timeout=900)
    assert ended.returncode == 0 and (tmp_path / "run" / "dynamics.png").exists()
    for path in (tmp_path / "run").glob("*.json"):
        assert path.read_text().startswith("{")  # nothing was written into a file that had the number of a stream


@posix
@pytest.mark.slow
@pytest.mark.parametrize("utf8", ["0", "1"])
def test_no_language_of_the_system_and_no_bytes_of_a_name_end_in_a_traceback(tmp_path, utf8):
    environment = os.environ | {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": utf8, "PYTHONCOERCECLOCALE": "0"}
    folder = os.path.join(os.fsencode(tmp_path), b"\xff\xce\xbb $x_")
    ended = lzero(*TRAIN, "--out", folder, env=environment)
    assert (ended.returncode, ended.stderr) == (0, b"") and os.path.exists(os.path.join(folder, b"dynamics.png"))
    ended = lzero("compare", "--help", env=environment)
    assert ended.returncode == 0 and (b"\\u03bb" if utf8 == "0" else "λ".encode()) in ended.stdout
    ended = lzero("train", "--model", b"\xff", env=environment)
    assert ended.returncode == 2 and b"Traceback" not in ended.stderr


@posix
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="becomes a user without rights")
def test_a_folder_that_may_not_be_written_is_one_line(trained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(0o755)
    with Mother(tmp_path) as mother:  # it has imported all that nobody may not read
        trainings = [*TRAIN, "--resume", "--out", folder], [*TRAIN, "--out", folder / "a"]
        for arguments in (["purge", folder], ["plot", folder], *trainings):
            ended = mother.run(*arguments, user=NOBODY)
            assert ended["code"] == 1 and "Permission denied" in ended["said"] and ended["said"].count("\n") == 1
        (folder / "config.json").chmod(0o600)
        ended = mother.run("purge", folder, user=NOBODY)
        assert "cannot be read (Permission denied)" in ended["said"] and "delete" not in ended["said"]
    assert content(folder) == content(trained)


@pytest.fixture
def small_disk(tmp_path):
    """A function that makes the folder ``disk`` a file system of so many kilobytes, or changes its size."""
    (tmp_path / "disk").mkdir()
    mounted = []

    def size(kilobytes):
        again = ["remount"] if mounted else []
        options = ",".join([*again, f"size={kilobytes}k"])
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(tmp_path / "disk")]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no file system may be mounted here")
        mounted.append(kilobytes)
        return tmp_path / "disk"

    yield size
    if mounted:
        subprocess.run(["umount", str(tmp_path / "disk")], check=True)


@pytest.mark.parametrize("kilobytes", [512, *(pytest.param(size, marks=pytest.mark.slow) for size in (4, 1000))])
def test_a_full_disk_is_one_line_and_the_run_goes_on_where_there_is_room(kilobytes, small_disk, trained, capsys):
    folder = small_disk(kilobytes) / "run"
    assert main([*TRAIN, "--out", str(folder)]) == 1
    line = error_line(capsys)
    assert "No space left on device" in line and "finished epochs are saved; continue with: lzero train" in line
    assert not list(folder.rglob(".*"))
    small_disk(100_000)
    assert main([*TRAIN, "--out", str(folder), "--resume"]) == 0
    assert content(folder) == content(trained)


def test_a_full_disk_ends_a_study_in_one_line_and_it_goes_on(small_disk, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(workers, "ProcessPoolExecutor", Inline)
    (tmp_path / "study.toml").write_text(TEXT)
    command = ["study", str(tmp_path / "study.toml"), "--budgets", "half", "--device", "cpu", "--out"]
    folder = small_disk(500) / "study"
    assert main([*command, str(folder)]) == 1
    assert "No space left on device" in error_line(capsys) and not list(folder.glob(".*"))
    small_disk(100_000)
    assert main([*command, str(folder)]) == 0
    assert main([*command, str(tmp_path / "whole" / "study")]) == 0
    assert content(folder) == content(tmp_path / "whole" / "study")


@posix
@pytest.mark.parametrize("command", ["train", "sweep", "compare", "study", "purge", "plot", "plot a file"])
def test_a_folder_in_which_another_command_is_at_work_is_left_alone(command, trained, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    (tmp_path / "study.toml").write_text(TEXT)
    before = content(folder)
    arguments = {
        "train": [*TRAIN, "--resume", "--out"],
        "sweep": ["sweep", "--resume", "--out"],
        "compare": ["compare", "--resume", "--out"],
        "study": ["study", str(tmp_path / "study.toml"), "--out"],
        "plot a file": ["plot", str(folder / "rows.csv"), "--out"],
    }.get(command, [command])
    place = folder / "figure.png" if command == "plot a file" else folder
    with alone_in(folder):
        assert main([*arguments, str(place)]) == 1
        assert names(folder) == {*before, LOCK}
    assert f"process {os.getpid()} on " in (line := error_line(capsys)) and "is at work in it; wait for its end" in line
    assert content(folder) == before


@posix
def test_a_cell_of_a_sweep_that_another_command_is_at_is_left_alone(tmp_path, capsys):
    arguments = ["sweep", "--target", "0.3", *TRAIN[3:], "--out", str(tmp_path / "sweep"), "--resume"]
    assert main(arguments) == 0
    with alone_in(tmp_path / "sweep" / "params-0.3-seed0"):
        assert main(arguments) == 1
    assert "params-0.3-seed0: process" in error_line(capsys)


def test_figures_beside_a_run_folder_may_be_drawn_while_it_is_trained(trained, tmp_path, capsys):
    with alone_in(trained):
        assert main(["plot", str(trained), "--kind", "dynamics", "--out", str(tmp_path / "now.png")]) == 0
    assert (tmp_path / "now.png").exists()
