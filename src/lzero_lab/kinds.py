"""Whether plain values, as JSON and TOML have them, are what an annotation says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

_WORDS: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "text",
    tuple: "a list",
    Mapping: "a table of names and values",
}


def fits(value: Any, kind: Any) -> bool:
    """Whether ``value`` is of ``kind``: whole numbers pass as numbers, truth values do not, nor do NaN and infinity."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return value in parts
    if origin in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(fits(entry, parts[1]) for entry in value.values())
    if kind in (int, float) and isinstance(value, int):
        return not isinstance(value, bool)
    if kind is float:
        return isinstance(value, float) and math.isfinite(value)
    return kind is Any or isinstance(value, origin or kind)


def expected(kind: Any) -> str:
    """What fits ``kind``, in words: "a finite number or a table of names and values"."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if origin in (Union, UnionType):
        return " or ".join(expected(part) for part in parts if part is not NoneType)
    return _WORDS.get(origin or kind, "something else")
