"""Notes of a trial that can be taken back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class Undo:
    """What lists and dicts (of sets, too) hold now, to go back to."""

    def __init__(self, notes: Iterable[list[Any] | dict[Any, Any]]) -> None:
        self._lists = list[tuple[list[Any], int]]()
        self._dicts = list[tuple[dict[Any, Any], dict[Any, Any]]]()
        for note in notes:
            if isinstance(note, list):
                self._lists.append((note, len(note)))  # they only grow
            else:
                self._dicts.append((note, {key: set(v) if isinstance(v, set) else v for key, v in note.items()}))

    def back(self) -> None:
        """All as it was."""
        for note, length in self._lists:
            del note[length:]
        for held, before in self._dicts:
            held.clear()
            held.update(before)
