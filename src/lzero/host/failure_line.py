"""The line of the user's own code that raised, beyond the libraries that it called."""

from __future__ import annotations

import linecache
import traceback
from types import TracebackType

import torch

_LIBRARIES = (torch.__name__, __name__.partition(".")[0], "einops")
_LONGEST = 100  # characters of a line that are told


def failure_line(trace: TracebackType | None) -> str:
    """``file.py:12, `y.view(b, t, c)``` of the innermost line that is no library's; empty where there is none."""
    found = ""
    for frame, number in traceback.walk_tb(trace):
        name = str(frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] not in _LIBRARIES:
            path = frame.f_code.co_filename
            source = linecache.getline(path, number, frame.f_globals).strip()
            shown = source if len(source) <= _LONGEST else f"{source[:_LONGEST]} ..."
            found = f"{path.replace(chr(92), '/').rpartition('/')[2]}:{number}" + (f", `{shown}`" if shown else "")
    return found
