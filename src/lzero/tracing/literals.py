"""Whether a subscript is written with constants alone: what it picks is then the same for every input."""

from __future__ import annotations

import ast
import itertools
import linecache
from collections.abc import Iterator
from types import FrameType
from typing import Any


def counts_from_the_end(key: Any) -> bool:
    """Whether a subscript has a negative number in it."""
    return any(type(number) is int and number < 0 for number in numbers_in(key))


def numbers_in(key: Any) -> Iterator[Any]:
    """Everything in ``key`` that is neither a tuple, a list nor a slice, in order; of a slice its parts."""
    if isinstance(key, slice):
        key = (key.start, key.stop, key.step)
    if isinstance(key, tuple | list):
        for part in key:
            yield from numbers_in(part)
    else:
        yield key


def written_as_constant(frame: FrameType) -> bool:
    """Whether ``frame`` is at a subscript whose source has nothing but numbers between its brackets.

    A number that the forward reads from an input, or from an attribute that may change, can look like one that is
    written down. Where there is no source to look at, the answer is no.
    """
    source = _source(frame)
    try:
        node = ast.parse(f"({source})", mode="eval").body
    except (SyntaxError, ValueError):
        return False
    return isinstance(node, ast.Subscript) and all(map(_is_constant, ast.walk(node.slice)))


def _is_constant(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant | ast.Slice | ast.Tuple | ast.List | ast.UnaryOp | ast.USub | ast.Load)


def _source(frame: FrameType) -> str:
    """The source of the instruction that ``frame`` is at; empty where it is not known."""
    at = next(itertools.islice(frame.f_code.co_positions(), frame.f_lasti // 2, None), (None,) * 4)
    first, last, start, stop = at
    if first is None or last is None or start is None or stop is None:
        return ""
    lines = [line.encode() for line in linecache.getlines(frame.f_code.co_filename, frame.f_globals)[first - 1 : last]]
    if len(lines) != last - first + 1:
        return ""
    lines[-1] = lines[-1][:stop]
    lines[0] = lines[0][start:]
    return b"".join(lines).decode(errors="replace")
