"""Files of text, plain values and tensors: replaced as a whole, and read without running code from them."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import torch

from lzero.files import replacing
from lzero_lab.errors import DamagedError, DataError, out_of_memory

_JSON, _TENSORS = "JSON", "saved tensors"


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
        DataError: it is missing or cannot be read.
        DamagedError: it is no JSON, or lacks one of ``entries``; the message ends in ``advice``.
    """
    content = _content(path, _JSON, advice)
    try:
        values = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as problem:  # RecursionError: lists in lists in lists
        raise _not_readable(path, _JSON, problem, advice) from problem
    return _checked(path, values, entries, advice)


def write_tensors(path: str | os.PathLike[str], values: Mapping[str, Any]) -> None:
    """Writes tensors and plain values at ``path``, whole or not at all; missing folders are made.

    Raises:
        OSError: where there is no room, as for any other file.
    """
    packed = io.BytesIO()  # torch's own writer tells a full disk as a RuntimeError about positions
    torch.save(dict(values), packed)
    with replacing(path, parents=True) as temporary, temporary.open("wb") as file:
        file.write(packed.getbuffer())


def read_tensors(path: str | os.PathLike[str], entries: Set[str], advice: str) -> dict[str, Any]:
    """What :func:`write_tensors` wrote at ``path``, on the CPU.

    Raises:
        DataError: it is missing or cannot be read.
        DamagedError: it is truncated, holds more than tensors and plain values, or lacks one of ``entries``; the
            message ends in ``advice``.
        MemoryError: there is no room for what it holds.
    """
    content = _content(path, _TENSORS, advice)
    try:
        values = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as problem:  # torch raises whatever the damaged bytes make it meet
        if out_of_memory(problem):
            raise MemoryError(f"{path}: no memory to read it; free some and try again") from problem
        raise _not_readable(path, _TENSORS, problem, advice) from problem
    return _checked(path, values, entries, advice)


def _content(path: str | os.PathLike[str], kind: str, advice: str) -> bytes:
    """The bytes at ``path``; whatever keeps them from being read says nothing about what they are."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as problem:
        raise DataError(f"{path}: not readable as {kind} ({problem.strerror}); {advice}") from problem
    except OSError as problem:
        raise DataError(
            f"{path}: cannot be read ({problem.strerror}); mend that and try again, the file is as it was"
        ) from problem
    except ValueError as problem:  # NUL in its name
        raise DataError(f"{path}: cannot be read ({problem}); name a file") from problem


def _not_readable(path: str | os.PathLike[str], kind: str, problem: Exception, advice: str) -> DamagedError:
    return DamagedError(f"{path}: not readable as {kind} ({type(problem).__name__}); {advice}")


def _checked(path: str | os.PathLike[str], values: Any, entries: Set[str], advice: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise DamagedError(f"{path}: expected named entries, found a {type(values).__name__}; {advice}")
    missing = sorted(entries - values.keys())
    if missing:
        raise DamagedError(
            f"{path}: expected the entries {', '.join(sorted(entries))}, found no {missing[0]}; {advice}"
        )
    return dict(values)
