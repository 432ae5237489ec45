"""Files that are replaced as a whole: a reader meets the old content or the new one, never a part."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SHOWN = 32  # characters of the name that a temporary file keeps, so that its own is never too long
_BYTES = 8  # of the random part of its name
_TEMPORARY = re.compile(rf"\..{{0,{_SHOWN}}}\.[0-9a-f]{{{2 * _BYTES}}}(\..{{0,{_SHOWN - 1}}})?", re.DOTALL)


@contextmanager
def replacing(path: str | os.PathLike[str], *, parents: bool = False) -> Iterator[Path]:
    """A temporary file beside ``path``, with the same suffix, that takes its place when the block ends well.

    It is empty when the block begins. When the block ends it is flushed to the disk and renamed, and so is the folder's
    entry where folders can be flushed. Whatever ends the block otherwise, KeyboardInterrupt included, leaves ``path``
    as it was, and no temporary file behind.

    Args:
        path: what to write, anew or in the place of an older file.
        parents: make missing folders above it.

    Example:
        >>> with replacing("table.md") as temporary:
        ...     _ = temporary.write_text("| a |")

    Raises:
        OSError: a file that cannot be made, written, flushed or renamed; it names ``path``.
        ValueError: a name that no file system takes.
    """
    target = Path(path)
    if parents:
        target.parent.mkdir(parents=True, exist_ok=True)
    # Of the same folder, hence of the same file system: os.replace is atomic only there.
    temporary = target.with_name(f".{target.stem[:_SHOWN]}.{secrets.token_hex(_BYTES)}{target.suffix[:_SHOWN]}")
    try:
        temporary.open("xb").close()
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as problem:
        if problem.errno is not None and problem.filename in (None, str(temporary)):  # a full disk names no file
            problem.filename, problem.filename2 = str(target), None
        raise
    finally:
        with suppress(OSError, ValueError):
            temporary.unlink()
    _flush_entry(target.parent)


def is_temporary(name: str) -> bool:
    """Whether a file of this name is a temporary one of :func:`replacing`, of a write that goes on or was killed."""
    return _TEMPORARY.fullmatch(name) is not None


def _flush_entry(folder: Path) -> None:
    """Make the new name survive a crash, where it can be done: the content is safe already."""
    if os.name == "posix":
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
