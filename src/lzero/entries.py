"""Entries of JSON from a file that somebody may have changed: what they have to be, or an error that says where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lzero.checks import shown
from lzero.errors import LzeroError


@dataclass(frozen=True)
class Entries:
    """Values of JSON as what they have to be.

    Attributes:
        place: what they were read from, the beginning of messages.
        again: the way out, their end.
        error: of which class they are.
    """

    place: str
    again: str
    error: type[LzeroError]

    def table(self, name: str, value: object) -> dict[str, Any]:
        """Named entries."""
        return value if type(value) is dict else self.wrong(name, "named entries", value)

    def row(self, name: str, value: object, length: int | None = None) -> list[Any]:
        """A list, of a ``length`` where one is given."""
        fits = type(value) is list and length in (None, len(value))
        return value if fits else self.wrong(name, "a list", value)  # type: ignore[return-value]

    def word(self, name: str, value: object) -> str:
        """A word."""
        return value if type(value) is str else self.wrong(name, "a word", value)

    def whole(self, name: str, value: object) -> int:
        """A whole number of at least 0."""
        return value if type(value) is int and 0 <= value < 2**63 else self.wrong(name, "a whole number >= 0", value)

    def wrong(self, name: str, expected: str, found: object) -> Any:
        """Raise for the entry ``name``, with what was ``expected`` and ``found``."""
        raise self.error(f"{self.place}, {name}: expected {expected}, found {shown(found)}; {self.again}")
