"""What Python learns about sizes while a forward runs: the way that it takes is known if no answer ever changes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch

from lzero._torch import MACHINERY
from lzero.tracing.label import IntArray

Numbers = Any
"""An int, or an array of what it would be under many closures."""


@dataclass(frozen=True, eq=False)
class DimSize:
    """The size of a dim with these labels, as the forward reads it."""

    labels: IntArray


@dataclass(frozen=True, eq=False)
class ModuleNumber:
    """A whole number that the module at ``path`` keeps, such as ``out_channels``; -1 is no ``place`` in a list."""

    path: str
    name: str
    place: int = -1

    def __str__(self) -> str:
        """As the forward has it: ``self.sizes[1]``."""
        return f"self.{self.name}{f'[{self.place}]' if self.place >= 0 else ''}"


Symbol = DimSize | ModuleNumber


@dataclass(frozen=True, eq=False)
class SizeExpr:
    """A number as a function of sizes: ``value`` computes it from those of its ``symbols``."""

    symbols: tuple[Symbol, ...]
    value: Callable[[Mapping[Symbol, Numbers]], Numbers]

    @staticmethod
    def of(symbol: Symbol) -> SizeExpr:
        """The number ``symbol`` itself."""
        return SizeExpr((symbol,), lambda sizes: sizes[symbol])


@dataclass(frozen=True, eq=False)
class Guard:
    """What Python learns about a number: the way that the forward takes is known if the answer never changes.

    Attributes:
        expr: the number.
        answer: what is learnt of it.
        act: how, to complete "the forward ...".
        place: source line and module.
    """

    expr: SizeExpr
    answer: Callable[[Numbers], Numbers]
    act: str
    place: str


@dataclass(frozen=True, eq=False)
class SizeUse:
    """A number that the forward has asked a dim to be long.

    Attributes:
        expr: the number.
        labels: of the dim.
        place: source line and module.
    """

    expr: SizeExpr
    labels: IntArray
    place: str


@dataclass
class GuardLog:
    """The guards of one forward, and the module path that it is at; what the modules at ``ignored`` learn is none."""

    module: Callable[[], str]
    guards: list[Guard] = field(default_factory=list)
    uses: list[SizeUse] = field(default_factory=list)
    ignored: Container[str] = ()

    def ask(self, expr: SizeExpr, act: str, answer: Callable[[Numbers], Numbers] = lambda number: number) -> None:
        """Note a guard, unless it is asked by a library that only checks its arguments."""
        frame = user_frame()
        if expr.symbols and not in_library(frame) and not self._ignores(expr):
            self.guards.append(Guard(expr, answer, act, self._place(frame)))

    def used(self, expr: SizeExpr, labels: IntArray) -> None:
        """Note that the number ``expr`` has become the length of a dim with ``labels``."""
        asks = frame = user_frame()
        while frame.f_back is not None and in_library(frame):  # the line of whoever calls it
            frame = frame.f_back
        if expr.symbols and not is_ours(asks) and not self._ignores(expr):
            self.uses.append(SizeUse(expr, labels, self._place(asks if is_ours(frame) else frame)))

    def exactly(self, expr: SizeExpr, act: str) -> Guard:
        """The guard that the number stays what it is, for somebody to note later."""
        return Guard(expr, lambda number: number, act, self._place(user_frame()))

    def _ignores(self, expr: SizeExpr) -> bool:
        """Whether it is asked at one of the ``ignored`` paths, and not of a number that another module keeps."""
        numbers = [symbol for symbol in expr.symbols if isinstance(symbol, ModuleNumber)]
        return self.module() in self.ignored and all(number.path in self.ignored for number in numbers)

    def _place(self, frame: FrameType) -> str:
        path = self.module()
        line = f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"
        return f"{line}{f' in {path}' if path else ''}"


_MACHINERY = {__name__, *MACHINERY}


def skip_frames_of(module: str) -> None:
    """Look for who uses a number beyond ``module``, which only hands numbers on; it calls this with its ``__name__``.

    A module that does not is taken for the user's own code, so that what it asks is noted: units are lost, and not
    the proof.
    """
    _MACHINERY.add(module)


def user_frame() -> FrameType:
    """The Python code that uses a number, beyond what only hands it on."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") in _MACHINERY:
        frame = frame.f_back
    return frame


def users_line() -> str:
    """File and number of the line that runs, beyond PyTorch and this library."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] in _OURS:
        frame = frame.f_back
    return "" if frame is None else f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"


_OURS = (torch.__name__, __name__.partition(".")[0])


def is_ours(frame: FrameType) -> bool:
    """Whether the library itself asks, for notes of its own."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == __name__.partition(".")[0]


def in_library(frame: FrameType) -> bool:
    """Whether the code belongs to a library that checks sizes and never decides by them what to compute."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in (torch.__name__, "einops")
