"""What Python learns of the values of tensors while a forward runs, and what it is told instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from types import FrameType
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lzero._torch import unwatched
from lzero.host.quiet import silenced
from lzero.tracing.guards import in_library, skip_frames_of, user_frame

skip_frames_of(__name__)

_ASKS = {
    Tensor.__bool__,
    Tensor.__contains__,
    Tensor.is_nonzero,
    torch.is_nonzero,
    Tensor.equal,
    torch.equal,
    Tensor.allclose,
    torch.allclose,
    Tensor.item,
    Tensor.__int__,
    Tensor.__float__,
    Tensor.__index__,
}
_READS = {Tensor.tolist, Tensor.numpy, Tensor.__array__}
_SELECTS = {
    torch.nonzero: 1,
    Tensor.nonzero: 1,
    torch.argwhere: 1,
    Tensor.argwhere: 1,
    torch.where: 1,  # with one argument
    torch.masked_select: 2,
    Tensor.masked_select: 2,
    Tensor.__getitem__: 2,
}
"""Functions whose results are as long as values say, and how many arguments they have then; the mask is one of them."""
_FAR = 1e4  # beyond what values are compared with


Kind = Literal["bool", "int", "float", "values"]


@dataclass(frozen=True)
class Site:
    """A place of the forward where Python learns a value, and what it gets: ``"values"`` are a list or an array."""

    file: str
    line: int
    column: int
    kind: Kind

    @property
    def number(self) -> bool:
        """Whether it gets more than a yes or no."""
        return self.kind != "bool"

    def __str__(self) -> str:
        return f"{self.file.rpartition('/')[2]}:{self.line}"


@dataclass(frozen=True)
class Answer:
    """What Python is told at a site, from the ``first`` time on and before the one numbered ``end``."""

    value: bool
    first: int
    end: int


@dataclass(frozen=True, eq=False)
class Way:
    """How one forward decides: by the values of its tensors, but for the ``answers`` at some sites.

    Attributes:
        answers: by site.
        draw: number of a draw of weights and inputs; 0 where they are those that are given.
    """

    answers: Mapping[Site, Answer] = field(default_factory=dict)
    draw: int = 0

    def but(self, site: Site, answer: Answer) -> Way:
        """This way with another ``answer`` at ``site``."""
        return Way({**self.answers, site: answer}, self.draw)


class Decisions(TorchFunctionMode):
    """A mode that notes what Python learns of values, and answers as a ``way`` says.

    Numbers become 1 or 0, or floats that are far from all others. Masks become true or false as a whole, in place, so
    that all that uses them goes on with the same.

    Attributes:
        seen: by site, what values have said, in order: None where it is neither all true nor all false.
    """

    def __init__(self, way: Way) -> None:
        super().__init__()
        self._way, self._times = way, dict[Site, int]()
        self.seen: dict[Site, list[bool | None]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The result of ``func``, or what the way says."""
        kwargs = kwargs or {}
        if func in _SELECTS:
            for mask in _masks(func, args, kwargs):
                told = self._told("bool", _said(mask))
                if told is not None:
                    mask.fill_(told)
        out = func(*args, **kwargs)
        if func in _ASKS and isinstance(out, bool):
            told = self._told("bool", out)
            return out if told is None else told
        if func in _ASKS and isinstance(out, int | float):
            told = self._told("int" if isinstance(out, int) else "float")
            return out if told is None else _number(out, told)
        if func in _READS:
            self._told("values")
        return out

    def _told(self, kind: Kind, said: bool | None = None) -> bool | None:
        """What the way says here; None where it leaves that to the values, which say ``said``."""
        frame = user_frame()
        if in_library(frame):  # a check of arguments
            return None
        site = Site(frame.f_code.co_filename, frame.f_lineno, _column(frame), kind)
        time = self._times[site] = self._times.get(site, -1) + 1
        answer = self._way.answers.get(site)
        if answer is not None and answer.first <= time < answer.end:
            return answer.value
        self.seen.setdefault(site, []).append(said)
        return None


def _column(frame: FrameType) -> int:
    """Where in its line a frame is; that of its instruction changes as Python makes it faster."""
    places = frame.f_code.co_positions()
    return next(islice(places, frame.f_lasti // 2, None))[2] or 0


@contextmanager
def deciding(way: Way) -> Iterator[Decisions]:
    """A context in which forwards decide as ``way`` says, silently where that is not as values say."""
    with silenced() if way.answers else nullcontext(), Decisions(way) as decisions:
        yield decisions


def _masks(func: Any, args: Any, kwargs: Any) -> Iterator[Tensor]:
    """The tensors that select by their values in a call."""
    given = (*args, *kwargs.values())
    if func is Tensor.__getitem__:
        index = args[1] if isinstance(args[1], tuple) else (args[1],)
        yield from (part for part in index if isinstance(part, Tensor) and part.dtype is torch.bool)
    elif _SELECTS[func] == len(given) - ("as_tuple" in kwargs) and isinstance(given[_SELECTS[func] - 1], Tensor):
        yield given[_SELECTS[func] - 1]


def _said(mask: Tensor) -> bool | None:
    """Whether all of ``mask`` is true, or none of it; None in between."""
    with unwatched():
        values = mask.detach().cpu().numpy() != 0
    return bool(values.all()) if values.all() or not values.any() else None


def _number(out: float, told: bool) -> float:
    return int(told) if isinstance(out, int) else (_FAR if told else -_FAR)
