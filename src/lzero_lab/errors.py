"""The lab's error, and what is said where a package of its extra is missing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from lzero.errors import LzeroError


class DataError(LzeroError, ValueError):
    """A dataset, run folder, recipe or study file that is missing, truncated or not what its name says."""


def damaged(path: str | os.PathLike[str], expected: str, found: str) -> DataError:
    """The error for a file of a data set that is not as published."""
    return DataError(f"{path}: expected {expected}, found {found or 'none'}; replace it by the original file")


@contextmanager
def needing(package: str, user: str) -> Iterator[None]:
    """An import within the context that fails is told as a package of the extra ``lab`` that ``user`` needs.

    Args:
        package: its name in the package index.
        user: who needs it, the beginning of the message.

    Raises:
        DataError: an ImportError within the context.
    """
    try:
        yield
    except ImportError as problem:
        broken = "" if isinstance(problem, ModuleNotFoundError) else f" ({problem})"
        raise DataError(f"{user} needs {package}{broken}; install it with: pip install 'lzero[lab]'") from problem
