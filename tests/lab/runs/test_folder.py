"""Run folders: whom they are free for, whom they refuse, and what a damaged file in them is taken for."""

import json

import pytest

from lzero_lab.errors import DamagedError, DataError
from lzero_lab.lock import LOCK
from lzero_lab.runs.folder import RunFolder


def test_a_free_folder_is_claimed_also_after_an_attempt_that_wrote_nothing(tmp_path):
    with RunFolder(tmp_path / "new").claim({"epochs": 2}) as folder:
        assert folder.read_config() == {"epochs": 2}
    with folder.claim({"epochs": 3}):
        assert folder.read_config() == {"epochs": 3}


@pytest.mark.parametrize(
    ("config", "resume", "message"),
    [
        ({"recipe": {"epochs": 3}}, True, "holds a run with epochs 2 and not 3; choose another folder"),
        ({"recipe": {"epochs": 3}}, False, r"epochs 2 and not 3; choose another folder \(--out\), or delete this one"),
        ({"recipe": {"epochs": 2}, "grid": [1]}, True, r"grid null and not \[1\]"),
        ({"recipe": {"epochs": 2}}, False, "holds this run already; continue it with --resume, or choose"),
    ],
)
def test_a_folder_that_holds_a_run_is_refused(config, resume, message, tmp_path):
    with RunFolder(tmp_path).claim({"recipe": {"epochs": 2}}) as folder:
        folder.rows.write_text("epoch\n1\n")
    with pytest.raises(DataError, match=message), folder.claim(config, resume=resume):
        pass
    assert folder.read_config() == {"recipe": {"epochs": 2}}
    with folder.claim({"recipe": {"epochs": 2}}, resume=True) as same:
        assert same is folder


def test_a_folder_of_other_files_and_a_file_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    mine = RunFolder(tmp_path).claim({}, resume=True)
    with pytest.raises(DataError, match="holds files but no run; choose another folder"), mine:
        pass
    with pytest.raises(DataError, match=r"notes\.txt: is a file; choose another folder"):
        RunFolder(tmp_path / "notes.txt").claim({}).__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_in_which_the_first_write_was_killed_is_free(tmp_path):
    (tmp_path / ".config.0123456789abcdef.json").write_text('{"epo')
    (tmp_path / LOCK).write_text("process 1 on a machine that is no more")
    with RunFolder(tmp_path).claim({"epochs": 2}) as folder:
        assert {path.name for path in tmp_path.iterdir()} == {"config.json", LOCK}
    assert folder.read_config() == {"epochs": 2} and not (tmp_path / LOCK).exists()


@pytest.mark.parametrize("name", ["asked", "expected", "before_settling", "deployed", "threshold", "moved", "warnings"])
@pytest.mark.parametrize("value", [None, "text", [1], {"params": "much"}, {"other": 0.5}, [[]]], ids=str)
def test_a_certificate_of_another_shape_is_refused(name, value, finished, tmp_path):
    folder = RunFolder(tmp_path)
    values = json.loads(finished.folder.certificate.read_text())
    folder.certificate.write_text(json.dumps(values | {name: value}))
    if name == "warnings" and isinstance(value, list):
        assert all(isinstance(text, str) for text in folder.read_certificate().warnings)
        return
    with pytest.raises(DamagedError, match=r"certificate\.json: .*; write it anew with lzero purge"):
        folder.read_certificate()


def test_a_run_of_several_processes_is_not_continued_by_another_number(tmp_path):
    for began, asked, words in (
        ({"processes": 2}, {}, "processes 2 and not 1"),
        ({}, {"processes": 3}, "processes 1 and not 3"),
    ):
        folder = RunFolder(tmp_path / words)
        with folder.claim(began):
            folder.checkpoint.write_bytes(b"")
        with pytest.raises(DataError, match=words), folder.claim(asked, resume=True):
            pass
        with folder.claim(began, resume=True):
            pass
