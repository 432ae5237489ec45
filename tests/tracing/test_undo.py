"""Notes go back to what they were."""

from __future__ import annotations

from typing import Any

from lzero.tracing.undo import Undo


def test_lists_dicts_and_sets_in_them_go_back() -> None:
    grown, changed, empty = [1, 2], {"a": {1}, "b": 2}, dict[str, int]()
    notes: list[list[Any] | dict[Any, Any]] = [grown, changed, empty]
    undo = Undo(notes)
    grown.append(3)
    changed["a"].add(2)  # type: ignore[attr-defined]
    changed["c"] = 3
    del changed["b"]
    empty["x"] = 1
    undo.back()
    assert grown == [1, 2] and changed == {"a": {1}, "b": 2} and empty == {}
    assert notes[0] is grown and notes[1] is changed
