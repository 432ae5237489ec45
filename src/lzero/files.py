"""Files that are replaced as a whole: a reader meets the old content or the new one, never a part."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SHOWN = 32  # characters of the name that a temporary file keeps, so that its own is never too long


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
        OSError: a file that cannot be made, flushed or renamed.
        ValueError: a name that no file system takes.
    """
    target = Path(path)
    if parents:
        target.parent.mkdir(parents=True, exist_ok=True)
    # Of the same folder, hence of the same file system: os.replace is atomic only there.
    temporary = target.with_name(f".{target.stem[:_SHOWN]}.{secrets.token_hex(8)}{target.suffix[:_SHOWN]}")
    try:
        temporary.open("xb").close()
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        with suppress(OSError, ValueError):
            temporary.unlink()
    _flush_entry(target.parent)


def _flush_entry(folder: Path) -> None:
    """Make the new name survive a crash, where it can be done: the content is safe already."""
    if os.name == "posix":
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
