"""How far a long call is: a bar of tqdm, where that is installed, for whoever looks at a terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from torch import distributed

from lzero.checks import shown
from lzero.errors import StructureError

_DELAY = 2.0  # seconds: what is over by then says nothing


class Progress:
    """A bar that counts what is done of what is known to be left; it appears after two seconds.

    Args:
        what: is being done, in a word or two.
        show: True for a bar in any case, False for none; None for one on a terminal, of the first of several processes,
            where tqdm is installed.
        unit: what is counted.

    Raises:
        StructureError: something else than True, False and None, or True without tqdm.
    """

    def __init__(self, what: str, show: bool | None, unit: str = "groups") -> None:
        if show is not None and not isinstance(show, bool):
            raise StructureError(f"progress: expected True, False or None (a bar on a terminal), found {shown(show)}")
        self._what, self._show, self._began = what, show or (show is None and _somebody_looks()), time.monotonic()
        self._bar: Any = None
        self._unit = f" {unit}"
        self._total = self._done = 0
        self._kind: Any = None
        if self._show:
            self._kind = _bar_class()
            if self._kind is None and show:
                raise StructureError("progress=True: tqdm is not installed; install it, or pass progress=None")

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def more(self, count: int) -> None:
        """``count`` more are to be done."""
        self._total += count
        self.tick()

    def done(self, count: int) -> None:
        """``count`` more are done."""
        self._done += count
        self.tick()

    def finish(self) -> None:
        """All that was to be done is done."""
        self.done(self._total - self._done)

    def tick(self) -> None:
        """Something goes on: the bar, and the time on it, are brought up to date."""
        past = time.monotonic() - self._began
        if self._kind is None or past < _DELAY:
            return
        if self._bar is None:
            # Made now and no earlier: tqdm starts a thread with its first bar.
            done = min(self._done, self._total)
            self._bar = self._kind(desc=self._what, total=self._total, initial=done, unit=self._unit, leave=False)
            self._bar.start_t -= past
        self._bar.total = self._total
        self._bar.update(min(self._done, self._total) - self._bar.n)


def _somebody_looks() -> bool:
    terminal = getattr(sys.stderr, "isatty", None)
    if terminal is None or not terminal():
        return False
    return not (distributed.is_available() and distributed.is_initialized() and distributed.get_rank())


def _bar_class() -> Any:
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm
