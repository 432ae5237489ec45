"""The lab's errors, and what is said where a package of its extra, memory or room on the disk is missing."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lzero.errors import LzeroError


class DataError(LzeroError, ValueError):
    """A dataset, run folder, recipe or study file that is missing, truncated or not what its name says."""


class DamagedError(DataError):
    """A file that could be read, and holds something else than its name says."""


class UsageError(LzeroError, ValueError):
    """An argument of the command line that names nothing usable."""


def damaged(path: str | os.PathLike[str], expected: str, found: str) -> DataError:
    """The error for a file of a data set that is not as published."""
    return DataError(f"{path}: expected {expected}, found {found or 'none'}; replace it by the original file")


@contextmanager
def needing(package: str, user: str, extra: str = "lab") -> Iterator[None]:
    """An import within the context that fails is told as a package of an extra that ``user`` needs.

    Args:
        package: its name in the package index.
        user: who needs it, the beginning of the message.
        extra: what brings it.

    Raises:
        DataError: an ImportError within the context.
    """
    try:
        yield
    except ImportError as problem:
        broken = "" if isinstance(problem, ModuleNotFoundError) else f" ({problem})"
        raise DataError(f"{user} needs {package}{broken}; install it with: pip install 'lzero[{extra}]'") from problem


def out_of_memory(problem: BaseException) -> bool:
    """Whether ``problem`` says that memory is short; PyTorch says so of the CPU's in a RuntimeError."""
    words = ("allocate memory", "not enough memory")
    return isinstance(problem, MemoryError | torch.OutOfMemoryError) or (
        isinstance(problem, RuntimeError) and any(word in str(problem) for word in words)
    )


def disk_full(problem: BaseException | None) -> bool:
    """Whether ``problem``, or what it was raised from, says that there is no room on the disk."""
    if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return problem is not None and disk_full(problem.__cause__)
