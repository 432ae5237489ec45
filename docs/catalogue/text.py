"""What a message says: words, and the fields between them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from catalogue.tree import Function

MOST = 16
_NO_WORDS = {"expected", "found", "and", "of", "in", "a", "or", "the"}


@dataclass(frozen=True)
class Field:
    """A part of a message that is another one each time.

    Attributes:
        name: a word for it.
        of: the function and parameter that it comes from.
        held: the class and attribute that it comes from.
    """

    name: str
    of: tuple[Function, str] | None = None
    held: tuple[str, str] | None = None


Text = tuple[str | Field, ...]


def words(text: Text) -> int:
    """How many words say something of their own."""
    said = "".join(part if isinstance(part, str) else "‹›" for part in text).split()
    bare = [re.sub(r"‹.*?›|[^A-Za-z]", "", word).lower() for word in said]
    return sum(len(word) > 1 and word not in _NO_WORDS for word in bare)


def shown(text: Text) -> str:
    """A message with its fields as ‹name›."""
    return "".join(part if isinstance(part, str) else f"‹{part.name}›" for part in text)


def replaced(text: Text, of: Function, by: Mapping[str, Sequence[Text]]) -> list[Text]:
    """All texts that come out where the parameters of a function are what a call gives for them."""
    parts: list[Sequence[Text]] = []
    for part in text:
        given = by.get(part.of[1]) if isinstance(part, Field) and part.of is not None and part.of[0] is of else None
        parts.append(given or [(part,)])
    return product(parts)


def passed(part: str | Field) -> bool:
    return isinstance(part, Field) and part.of is not None


def says(part: str | Field) -> bool:
    return bool(part.of) if isinstance(part, Field) else not part.isdigit()


def product(parts: Sequence[Sequence[Text]]) -> list[Text]:
    """All ways of putting one text of each part behind the other; words that stand side by side become one."""
    made = [
        tuple(itertools.chain.from_iterable(chosen)) for chosen in itertools.islice(itertools.product(*parts), MOST)
    ]
    return [*dict.fromkeys(_joined(text) for text in made)]


def _joined(text: Text) -> Text:
    made: list[str | Field] = []
    for part in text:
        if isinstance(part, str) and made and isinstance(made[-1], str):
            made[-1] += part
        elif part != "":
            made.append(part)
    return tuple(made)


def either(one: list[Text], other: list[Text]) -> list[Text]:
    """Two ways to go on: as one part where one says nothing, or both are short."""
    if len(one) == len(other) == 1:
        first, second = one[0], other[0]
        if not shown(second) or not shown(first):
            said = first if shown(first) else second
            return [("[", *said, "]")] if shown(said) else [()]
        if words(first) < 3 and words(second) < 3 and all(isinstance(p, str) for p in (*first, *second)):
            return [(f"[{shown(first).strip()} | {shown(second).strip()}]",)]
    return [*one, *other]
