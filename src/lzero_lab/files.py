"""Files of text, plain values and tensors: replaced as a whole, and read without running code from them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Set
from typing import Any

import torch

from lzero.files import replacing
from lzero_lab.errors import DataError


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes ``text`` at ``path`` in UTF-8, whole or not at all; missing folders are made."""
    with replacing(path, parents=True) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], values: Mapping[str, Any]) -> None:
    """Writes ``values`` at ``path``, whole or not at all; missing folders are made."""
    write_text(path, json.dumps(values, indent=2) + "\n")


def read_json(path: str | os.PathLike[str], entries: Set[str], advice: str) -> dict[str, Any]:
    """The object that :func:`write_json` wrote at ``path``.

    Raises:
        DataError: it is missing, not readable, or lacks one of ``entries``; the message ends in ``advice``.
    """
    try:
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
    except (OSError, ValueError) as problem:
        raise DataError(f"{path}: not readable as JSON ({_short(problem)}); {advice}") from problem
    return _checked(path, values, entries, advice)


def write_tensors(path: str | os.PathLike[str], values: Mapping[str, Any]) -> None:
    """Writes tensors and plain values at ``path``, whole or not at all; missing folders are made."""
    with replacing(path, parents=True) as temporary:
        torch.save(dict(values), temporary)


def read_tensors(path: str | os.PathLike[str], entries: Set[str], advice: str) -> dict[str, Any]:
    """What :func:`write_tensors` wrote at ``path``, on the CPU.

    Raises:
        DataError: it is missing, truncated, holds more than tensors and plain values, or lacks one of ``entries``;
            the message ends in ``advice``.
    """
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:  # torch raises whatever the damaged bytes make it meet
        raise DataError(f"{path}: not readable as saved tensors ({_short(problem)}); {advice}") from problem
    return _checked(path, values, entries, advice)


def _checked(path: str | os.PathLike[str], values: Any, entries: Set[str], advice: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise DataError(f"{path}: expected named entries, found a {type(values).__name__}; {advice}")
    missing = sorted(entries - values.keys())
    if missing:
        raise DataError(f"{path}: expected the entries {', '.join(sorted(entries))}, found no {missing[0]}; {advice}")
    return dict(values)


def _short(problem: Exception) -> str:
    return problem.strerror or type(problem).__name__ if isinstance(problem, OSError) else type(problem).__name__
