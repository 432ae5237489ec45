"""Files of the lab: replaced as a whole, read without running code, refused with a way out."""

import json

import pytest
import torch

from lzero_lab.errors import DataError
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
    with pytest.raises(DataError, match=message):
        read_tensors(tmp_path / "a.pt", {"step", "weight"}, "train anew")


def test_tensors_are_replaced_as_a_whole(tmp_path):
    path = tmp_path / "a.pt"
    write_tensors(path, {"step": 1})
    with pytest.raises(Exception, match="pickle"):
        write_tensors(path, {"step": (number for number in range(2))})
    assert read_tensors(path, {"step"}, "") == {"step": 1} and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", ["{", "[1]", '{"other": 1}', "\xff"])
def test_a_damaged_json_file_is_refused(text, tmp_path):
    (tmp_path / "a.json").write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=r"a\.json: .*; try again"):
        read_json(tmp_path / "a.json", {"needed"}, "try again")


def test_json_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"x": 1.5})
    with pytest.raises(TypeError):
        write_json(path, {"x": torch.zeros(2)})
    assert json.loads(path.read_text()) == {"x": 1.5}
    assert list(tmp_path.iterdir()) == [path]
