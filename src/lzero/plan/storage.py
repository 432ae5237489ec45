"""One file of plain data: written whole or not at all, read without running code, damage noticed."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import torch

from lzero.checks import file_path, shown
from lzero.errors import StructureError
from lzero.files import replacing

_DIGEST = 64  # characters of SHA-256 in hex


def write(path: object, heading: str, content: Any) -> None:
    """``content``, of what ``torch.load(weights_only=True)`` reads, as the file ``path``, which appears at once.

    Raises:
        StructureError: no path, or the file cannot be written; an older one is then as it was.
    """
    target = file_path("path", path, error=StructureError)
    packed = io.BytesIO()
    torch.save(content, packed)
    data = packed.getvalue()
    try:
        with replacing(target) as temporary:
            temporary.write_bytes(_head(heading, data) + data)
    except (OSError, ValueError) as error:  # ValueError: no name at all, by its characters
        raise StructureError(f"{target}: cannot be written ({error}); name a file in a folder that exists") from error


def read(path: object, heading: str) -> Any:
    """What :func:`write` wrote under the same heading.

    Raises:
        StructureError: no path, no file, another file, or a damaged one.
    """
    target = file_path("path", path, error=StructureError)
    try:
        held = target.read_bytes()
    except (OSError, ValueError) as error:
        raise StructureError(f"{target}: cannot be read ({error}); name a file that was saved") from error
    start = len(_head(heading, b""))
    data = held[start:]
    if not held.startswith(f"{heading}\n".encode()):
        raise StructureError(f"{target}: expected a file that begins with {heading!r}, found {shown(held[:40])}")
    if held[:start] != _head(heading, data):
        raise StructureError(f"{target}: damaged, its checksum does not match its {len(data):,} bytes; save it again")
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a file that somebody made up
        raise StructureError(f"{target}: not readable as plain data ({type(error).__name__}); save it again") from error


def _head(heading: str, data: bytes) -> bytes:
    return f"{heading}\n{hashlib.sha256(data).hexdigest():<{_DIGEST}}\n".encode()
