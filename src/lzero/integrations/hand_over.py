"""The result of a training in spawned processes, for the process that spawned them and holds an untrained model."""

from __future__ import annotations

import os
import tempfile
import uuid
from pathlib import Path

import torch

from lzero.purge import PurgeResult


class HandOver:
    """A way from a process to the one that made this object, by a file that lives no longer than it must."""

    def __init__(self) -> None:
        self._maker = os.getpid()
        self._file = Path(tempfile.gettempdir()) / f"lzero-{uuid.uuid4().hex}.pt"

    @property
    def elsewhere(self) -> bool:
        """Whether this is another process than the one that made the object."""
        return os.getpid() != self._maker

    def give(self, result: PurgeResult) -> None:
        """Leave ``result`` for the process that made this object."""
        with self._file.open("xb") as file:
            os.chmod(file.fileno(), 0o600)
            torch.save(result, file)

    def take(self) -> PurgeResult | None:
        """What another process has left, once."""
        if self.elsewhere or not self._file.exists():
            return None
        result: PurgeResult = torch.load(self._file, weights_only=False)
        self._file.unlink()
        return result
