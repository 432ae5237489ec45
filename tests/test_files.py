"""Files replaced as a whole: whatever happens on the way, the old file or the new one is there, and nothing else."""

import errno
import os
import stat
from pathlib import Path

import pytest

from lzero.files import is_temporary, replacing


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["new.txt", "old.txt", "no suffix", ".hidden", "x" * 250, "é" * 120 + ".txt"])
def test_what_was_written_is_at_the_path_and_nothing_else_is_left(tmp_path, name):
    (tmp_path / "old.txt").write_text("old, and longer than the new one")
    with replacing(tmp_path / name) as temporary:
        temporary.write_text("new")
    assert (tmp_path / name).read_text() == "new"
    assert names(tmp_path) == sorted({"old.txt", name})


def test_the_temporary_file_is_empty_lies_beside_and_has_the_suffix(tmp_path):
    (tmp_path / "a.csv").write_text("old")
    with replacing(tmp_path / "a.csv") as temporary, replacing(tmp_path / "a.csv") as other:
        assert temporary.parent == tmp_path and temporary.suffix == ".csv" and temporary.read_bytes() == b""
        assert other != temporary  # two writers do not share one
        assert (tmp_path / "a.csv").read_text() == "old"


@pytest.mark.parametrize("problem", [RuntimeError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("before", ["old", None])
def test_an_interrupted_write_leaves_the_older_file(tmp_path, problem, before):
    path = tmp_path / "file"
    if before is not None:
        path.write_text(before)
    with pytest.raises(problem), replacing(path) as temporary:
        temporary.write_text("half")
        raise problem
    assert names(tmp_path) == ([] if before is None else ["file"])
    assert before is None or path.read_text() == before


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("problem", [OSError("disk full"), KeyboardInterrupt("disk full")])
def test_a_step_that_fails_leaves_the_older_file(tmp_path, monkeypatch, step, problem):
    (tmp_path / "file").write_text("old")

    def fails(*_):
        raise problem

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fails)
        with pytest.raises(type(problem), match="disk full"), replacing(tmp_path / "file") as temporary:
            temporary.write_text("new")
    assert (tmp_path / "file").read_text() == "old" and names(tmp_path) == ["file"]


def test_the_content_is_flushed_before_the_rename_and_the_folder_after_it(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace

    def flushed(handle):
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else os.fstat(handle).st_size)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append("rename"), replace(*paths)))
    with replacing(tmp_path / "file") as temporary:
        temporary.write_text("new")
    assert done == [3, "rename", "folder"]


def test_a_folder_that_cannot_be_flushed_is_no_error(tmp_path, monkeypatch):
    fsync = os.fsync

    def files_only(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError("not supported")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", files_only)
    with replacing(tmp_path / "file") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "file").read_text() == "new" and names(tmp_path) == ["file"]


def test_missing_folders_are_made_where_that_is_asked_for(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert names(tmp_path) == []
    with replacing(path, parents=True) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 5000, "folder"])
def test_a_name_that_no_file_can_have_leaves_nothing_behind(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises((OSError, ValueError)), replacing(tmp_path / name) as temporary:
        temporary.write_text("new")
    assert names(tmp_path) == ["folder"]


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_the_mode_is_that_of_any_new_file(tmp_path):
    Path(tmp_path / "plain").touch()
    with replacing(tmp_path / "file"):
        pass
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(
    "name", ["new.txt", "no suffix", ".hidden", "x" * 250, "é" * 120 + ".txt", "a.b.c", "a\nb.csv"]
)
def test_the_name_of_a_temporary_file_tells_that_it_is_one(tmp_path, name):
    with replacing(tmp_path / name) as temporary:
        temporary.write_text("new")
    assert is_temporary(temporary.name) and not is_temporary(name)


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_full_disk_is_said_of_the_file_that_was_to_be_written(tmp_path, monkeypatch, step):
    def full(*places):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *(map(str, places) if step == "replace" else ()))

    if step != "write":
        monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="No space left") as caught, replacing(tmp_path / "file.csv"):
        if step == "write":
            full()
    assert caught.value.filename == str(tmp_path / "file.csv") and names(tmp_path) == []
