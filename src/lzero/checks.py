"""One validator for the numbers and choices that callers pass: expected and found, in every message."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from numbers import Integral, Real
from pathlib import Path

from lzero.errors import LzeroError


def real(
    name: str,
    value: object,
    *,
    expected: str,
    error: type[LzeroError],
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
) -> float:
    """``value`` as a finite float with least <= value <= most and above < value < below.

    Numbers of NumPy and 0-dim tensors of one element are not special: what is a :class:`numbers.Real` is taken.

    Raises:
        LzeroError: of type ``error``: anything else, booleans and integers beyond the range of a float included.
    """
    if isinstance(value, Real) and not _boolean(value):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number) and least <= number <= most and above < number < below:
            return number
    raise error(f"{name}: expected {expected}, found {shown(value)}")


def whole(
    name: str, value: object, *, least: int, expected: str, error: type[LzeroError], most: int = 2**63 - 1
) -> int:
    """``value`` as an int in [least, most]; integers of NumPy count.

    Raises:
        LzeroError: of type ``error``: anything else, booleans included.
    """
    if isinstance(value, Integral) and not _boolean(value) and least <= int(value) <= most:
        return int(value)
    raise error(f"{name}: expected {expected}, found {shown(value)}")


def flag(name: str, value: object, *, error: type[LzeroError]) -> bool:
    """``value`` where it is True or False.

    Raises:
        LzeroError: of type ``error``: anything else.
    """
    if isinstance(value, bool):
        return value
    raise error(f"{name}: expected True or False, found {shown(value)}")


def choice(name: str, value: object, known: Iterable[str], *, error: type[LzeroError]) -> str:
    """``value`` where it is one of the words ``known``.

    Raises:
        LzeroError: of type ``error``: anything else.
    """
    words = tuple(known)
    if isinstance(value, str) and value in words:
        return value
    raise error(f"{name}: expected one of {', '.join(map(repr, words))}, found {shown(value)}")


def file_path(name: str, value: object, *, error: type[LzeroError]) -> Path:
    """``value`` where it names a file: words or a path, and neither a number (a file descriptor) nor bytes.

    Raises:
        LzeroError: of type ``error``: anything else.
    """
    path = _path(name, value, "file", error)
    if not path.name:
        raise error(f"{name}: expected the name of a file, found that of a folder, {shown(value)}")
    return path


def folder_path(name: str, value: object, *, error: type[LzeroError]) -> Path:
    """``value`` where it names a folder, as :func:`file_path` does a file.

    Raises:
        LzeroError: of type ``error``: anything else.
    """
    return _path(name, value, "folder", error)


def _path(name: str, value: object, kind: str, error: type[LzeroError]) -> Path:
    held = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not held or not isinstance(held, str):
        raise error(f"{name}: expected the name of a {kind}, found {shown(value)}")
    return Path(held)


def shown(value: object, length: int = 80) -> str:
    """``repr(value)`` on one line of at most ``length`` characters, whatever the object's own repr does."""
    if isinstance(value, int) and value.bit_length() > 256:  # Python refuses to print the largest
        return f"an integer of {value.bit_length()} bits"
    try:
        text = " ".join(repr(value).split())
    except Exception as problem:
        text = f"<{type(value).__name__}, whose repr raises {type(problem).__name__}>"
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _boolean(value: object) -> bool:
    return isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")
