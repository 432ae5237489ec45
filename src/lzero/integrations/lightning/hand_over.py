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
        self._taken: PurgeResult | None = None

    @property
    def elsewhere(self) -> bool:
        """Whether this is another process than the one that made the object."""
        return os.getpid() != self._maker

    def give(self, result: PurgeResult) -> None:
        """Leave ``result`` for the process that made this object."""
        with self._file.open("xb") as file:
            os.chmod(file.fileno(), 0o600)
            torch.save(result, file)

    @property
    def result(self) -> PurgeResult | None:
        """The latest that another process has left."""
        if not self.elsewhere and self._file.exists():
            self._taken = torch.load(self._file, weights_only=False)
            self._file.unlink()
        return self._taken
