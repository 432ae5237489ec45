"""Files of plans: names that are none, folders, writes that fail, and content that would run code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plans import simple
from torch import nn

from lzero import Plan
from lzero.errors import StructureError
from lzero.plan import storage


@pytest.mark.parametrize(
    "path",
    [None, 3, "", b"plan", [], object(), "/", "."],
    ids=lambda path: str(path) if isinstance(path, str | bytes) else type(path).__name__,
)
def test_what_names_no_file_is_refused(path: Any) -> None:
    for act in (simple(None).save, Plan.load):
        with pytest.raises(StructureError, match="path: expected the name of a file"):
            act(path)


def test_files_that_are_missing_folders_or_cannot_be_written(tmp_path: Path) -> None:
    for act in (Plan.load, simple(None).save):
        with pytest.raises(StructureError, match="cannot be"):
            act(tmp_path)
        with pytest.raises(StructureError, match="cannot be"):
            act(tmp_path / "none" / "plan")
        for name in ("a\0b", "\ud800", "x" * 5000):
            with pytest.raises(StructureError, match="cannot be"):
                act(tmp_path / name)
    (tmp_path / "text").write_text("a shopping list")
    with pytest.raises(StructureError, match="begins with 'lzero plan 3', found b'a shopping list'"):
        Plan.load(tmp_path / "text")


def test_a_write_that_fails_leaves_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simple(1).save(tmp_path / "plan")

    def fails(*_: Any) -> None:
        raise OSError("disk full")

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(f"lzero.files.os.{step}", fails)
            with pytest.raises(StructureError, match="disk full"):
                simple(2).save(tmp_path / "plan")
        assert Plan.load(tmp_path / "plan").example_inputs == 1
        assert [path.name for path in tmp_path.iterdir()] == ["plan"]


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    storage.write(tmp_path / "plan", "lzero plan 3", nn.Linear(2, 2))
    with pytest.raises(StructureError, match="not readable as plain data"):
        Plan.load(tmp_path / "plan")
