"""Files of the lab: replaced as a whole, read without running code, refused with a way out."""

import errno
import json
import os
from pathlib import Path

import pytest
import torch

from lzero_lab.errors import DamagedError, DataError
from lzero_lab.files import read_json, read_tensors, write_json, write_tensors, write_text


def test_text_goes_into_folders_that_are_made(tmp_path):
    write_text(tmp_path / "a" / "b.md", "λ\n")
    assert (tmp_path / "a" / "b.md").read_bytes() == "λ\n".encode()


def test_values_and_tensors_come_back(tmp_path):
    values = {"x": 1.5, "names": ["a", "λ"], "none": None}
    write_json(tmp_path / "a.json", values)
    assert read_json(tmp_path / "a.json", {"x"}, "") == values
    tensors = {"weight": torch.randn(3), "step": 4}
    write_tensors(tmp_path / "new" / "a.pt", tensors)
    found = read_tensors(tmp_path / "new" / "a.pt", {"step", "weight"}, "")
    assert found["weight"].equal(tensors["weight"]) and found["step"] == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weight": 1}, r"a\.pt: expected the entries step, weight, found no step; train anew"),
        ([1], r"a\.pt: expected named entries, found a list; train anew"),
        (torch.nn.Linear(1, 1), r"a\.pt: not readable as saved tensors \(UnpicklingError\); train anew"),
        (None, r"a\.pt: not readable as saved tensors \(No such file or directory\); train anew"),
    ],
    ids=["too few", "a list", "code", "no file"],
)
def test_a_file_that_holds_something_else_is_refused(tmp_path, content, message):
    if content is not None:
        torch.save(content, tmp_path / "a.pt")
    with pytest.raises(DataError, match=message) as caught:
        read_tensors(tmp_path / "a.pt", {"step", "weight"}, "train anew")
    assert isinstance(caught.value, DamagedError) == (content is not None)


def test_tensors_are_replaced_as_a_whole(tmp_path):
    path = tmp_path / "a.pt"
    write_tensors(path, {"step": 1})
    with pytest.raises(Exception, match="pickle"):
        write_tensors(path, {"step": (number for number in range(2))})
    assert read_tensors(path, {"step"}, "") == {"step": 1} and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "text", ["{", "[1]", '{"other": 1}', "\xff", "[" * 100_000 + "]" * 100_000, '{"needed":' * 100_000]
)
def test_a_damaged_json_file_is_refused(text, tmp_path):
    (tmp_path / "a.json").write_text(text, encoding="latin-1")
    with pytest.raises(DamagedError, match=r"a\.json: .*; try again"):
        read_json(tmp_path / "a.json", {"needed"}, "try again")


def test_json_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"x": 1.5})
    with pytest.raises(TypeError):
        write_json(path, {"x": torch.zeros(2)})
    assert json.loads(path.read_text()) == {"x": 1.5}
    assert list(tmp_path.iterdir()) == [path]


READERS = pytest.mark.parametrize("read", [read_json, read_tensors])


@READERS
@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO])
def test_what_keeps_a_file_from_being_read_says_nothing_about_its_content(tmp_path, monkeypatch, read, number):
    def fails(path):
        raise OSError(number, os.strerror(number), str(path))

    (tmp_path / "a").write_text("whatever")
    monkeypatch.setattr(Path, "read_bytes", fails)
    with pytest.raises(DataError, match=rf"a: cannot be read \({os.strerror(number)}\); mend that and try") as caught:
        read(tmp_path / "a", set(), "delete it and train anew")
    assert not isinstance(caught.value, DamagedError) and "delete" not in str(caught.value)


@READERS
@pytest.mark.parametrize(
    ("name", "reason"),
    [("", "Is a directory"), ("loop", "Too many levels"), ("a\0b", "null byte"), ("x" * 500, "too long")],
)
def test_a_folder_a_loop_and_a_name_that_no_file_has_are_said(tmp_path, read, name, reason):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(DataError, match=f"cannot be read .*{reason}"):
        read(tmp_path / name, set(), "")


@pytest.mark.parametrize(
    "problem", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")]
)
def test_a_lack_of_memory_is_no_damage(tmp_path, monkeypatch, problem):
    def fails(*_, **__):
        raise problem

    write_tensors(tmp_path / "a.pt", {"step": 1})
    monkeypatch.setattr(torch, "load", fails)
    with pytest.raises(MemoryError, match=r"a\.pt: no memory to read it"):
        read_tensors(tmp_path / "a.pt", {"step"}, "delete it")


def test_the_same_tensors_are_the_same_bytes_under_any_name(tmp_path):
    for name in ("a.pt", "another.pt"):
        write_tensors(tmp_path / name, {"weight": torch.ones(3)})
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "another.pt").read_bytes()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_tensors_that_do_not_fit_on_the_disk_are_an_error_of_the_system(tmp_path, monkeypatch):
    open_ = Path.open
    full = Path("/dev/full")
    monkeypatch.setattr(Path, "open", lambda path, mode="r", **_: open_(full if mode == "wb" else path, mode))
    with pytest.raises(OSError, match="No space left on device"):
        write_tensors(tmp_path / "a.pt", {"weight": torch.ones(100_000)})
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
