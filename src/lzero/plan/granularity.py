"""The words by which a granularity is asked for, alone or joined by a plus."""

from __future__ import annotations

from itertools import combinations

FINE = ("unit", "input", "weight")
COARSE = ("width", "depth", "experts")
WORDS = (*FINE, *COARSE)


def expected() -> str:
    """What may be written, for messages: no list of every combination."""
    return f"one of {', '.join(map(repr, WORDS))} (but for 'unit' and 'weight' also joined by a plus)"


def words_of(granularity: str) -> frozenset[str]:
    """What a granularity asks for, each word; units go with everything that is coarser, or finer by feature.

    Example:
        >>> sorted(words_of("width+depth"))
        ['depth', 'unit', 'width']
        >>> sorted(words_of("weight"))
        ['weight']
    """
    words = frozenset(granularity.split("+"))
    return words if words == {"weight"} else words | {"unit"}


def granularities() -> list[str]:
    """Every granularity that there is, with its words in one order."""
    coarse = [joined for count in range(1, len(COARSE) + 1) for joined in combinations(COARSE, count)]
    return [*FINE, *("+".join(words) for words in coarse), *("+".join(("input", *words)) for words in coarse)]


def spelled(granularity: str) -> str:
    """``granularity`` with its words in the order of :func:`granularities`, or as it is where a word is unknown."""
    words = granularity.split("+")
    if len(words) != len(set(words)) or not set(words) <= set(WORDS):
        return granularity
    if len(words) > 1:
        words = [word for word in words if word != "unit"]
    return "+".join(sorted(words, key=WORDS.index))
