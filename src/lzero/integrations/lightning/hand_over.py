"""The result of a training in spawned processes, for the process that spawned them and holds an untrained model."""

from __future__ import annotations

import hmac
import multiprocessing
import os
import pickle
import tempfile
import uuid
from pathlib import Path

from lzero.errors import StructureError
from lzero.purge import PurgeResult

_SIGNED = 32  # bytes of the signature, which come first


class HandOver:
    """A way from a process to the one that made this object, by a file that lives no longer than it must.

    A module goes by pickle, as everything between processes does. The file is signed with the key that a process shares
    with those that it spawns and with nobody else, and is not unpickled before that is checked.
    """

    def __init__(self) -> None:
        self._maker = os.getpid()
        self._file = Path(tempfile.gettempdir()) / f"lzero-{uuid.uuid4().hex}"
        self._taken: PurgeResult | None = None

    @property
    def elsewhere(self) -> bool:
        """Whether this is another process than the one that made the object."""
        return os.getpid() != self._maker

    def give(self, result: PurgeResult) -> None:
        """Leave ``result`` for the process that made this object."""
        content = pickle.dumps(result)
        with self._file.open("xb") as file:
            os.chmod(file.fileno(), 0o600)
            file.write(_signature(content) + content)

    @property
    def result(self) -> PurgeResult | None:
        """The latest that another process has left.

        Raises:
            StructureError: the file is not whole, or not by a process that this one has spawned.
        """
        if not self.elsewhere and self._file.exists():
            found = self._file.read_bytes()
            self._file.unlink()
            signature, content = found[:_SIGNED], found[_SIGNED:]
            if not hmac.compare_digest(signature, _signature(content)):
                raise StructureError(
                    f"{self._file}: is not what a process of this training has left there; train again, or with "
                    'strategy="ddp", which needs no file'
                )
            self._taken = pickle.loads(content)
        return self._taken


def _signature(content: bytes) -> bytes:
    return hmac.digest(multiprocessing.current_process().authkey, content, "sha256")
