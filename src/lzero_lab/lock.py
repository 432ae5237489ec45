"""One command at a time in a folder: a lock that ends with its process, however that ends."""

from __future__ import annotations

import errno
import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lzero.files import is_temporary
from lzero_lab.errors import DataError

if sys.platform != "win32":
    import fcntl

LOCK = ".lock"
_WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # of file systems that have none


@contextmanager
def alone_in(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """The ``folder``, made where it is missing; within the context no other process has it so.

    The lock is the operating system's, on the file :data:`LOCK` in the folder, which says who holds it: a process that
    was killed holds nothing. What killed processes were writing there, unfinished, is removed first. Where there are no
    such locks (Windows, some file systems) nobody is kept out, and nothing is removed.

    Raises:
        DataError: the path is a file, or another process is at work in the folder; the message names it.
        OSError: the folder cannot be made or written into.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise DataError(f"{path}: is a file; choose another folder (--out)")
    path.mkdir(parents=True, exist_ok=True)
    handle, locked = _take(path / LOCK)
    try:
        if locked:
            _say_who(handle)
            _remove_leftovers(path)
        yield path
    finally:
        with suppress(OSError):
            (path / LOCK).unlink()  # while it is held: whoever waits at this file looks again, see _take
        os.close(handle)


def holder(folder: str | os.PathLike[str]) -> str | None:
    """Who is at work in ``folder``, ``"process 123 on machine"``; None where nobody is. Nothing there is changed.

    The lock of a process that was killed is free, whatever the file says. It is tried for only where the process that
    the file names is alive; so nobody who comes for the lock just then finds it taken.
    """
    path = Path(folder, LOCK)
    try:
        who = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
    named = re.fullmatch(r"process (\d+) on (.*)", who, re.DOTALL)
    if named is None or sys.platform == "win32":
        return who or "another process"
    number, machine = int(named[1]), named[2]
    if machine != _machine():
        return who
    return who if _alive(number) and not _free(path) else None


def _alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
        return True
    return True


def _free(path: Path) -> bool:
    """Whether nobody has the lock on the file; where the system has no locks, its process is taken at its word."""
    if sys.platform == "win32":
        return False
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # its holder has just ended
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _machine() -> str:
    return platform.node() or "this machine"


def _take(path: Path) -> tuple[int, bool]:
    """An open handle on the file ``path``, and whether it is locked by it."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            locked = _locked(handle, path)
            with suppress(FileNotFoundError):
                if not locked or os.path.samestat(os.fstat(handle), os.stat(path)):
                    return handle, locked
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # its holder has just ended and removed it: another file has, or will have, its name


def _locked(handle: int, path: Path) -> bool:
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as problem:
        who = os.pread(handle, 200, 0).decode("utf-8", "replace").strip() or "another process"
        raise DataError(
            f"{path.parent}: {who} is at work in it; wait for its end, or choose another place (--out)"
        ) from problem
    except OSError as problem:
        if problem.errno in _WITHOUT_LOCKS:
            return False
        raise
    return True


def _say_who(handle: int) -> None:
    with suppress(OSError):  # the disk may be full: the lock holds all the same
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {_machine()}\n".encode())


def _remove_leftovers(folder: Path) -> None:
    with os.scandir(folder) as entries:
        left = [entry.path for entry in entries if is_temporary(entry.name) and entry.is_file(follow_symlinks=False)]
    for path in left:
        with suppress(OSError):
            os.unlink(path)
