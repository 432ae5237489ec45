"""The tensors that a forward has met, with their labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from lzero.tracing.label import Axes, Zeroing
from lzero.tracing.label_book import LabelBook
from lzero.tracing.norm_call import NormCall


@dataclass(frozen=True, eq=False)
class Traced:
    """A tensor of the forward and its labels.

    Attributes:
        tensor: held, so that its id and its storage stay its own while the trace lives.
        axes: its labels, one array per dim.
        source: the parameter that it is a pure view of: same values, same labels. None for all else.
        zeroing: parameters that make it zero where they are.
    """

    tensor: Tensor
    axes: Axes
    source: str | None = None
    zeroing: Zeroing = frozenset()


@dataclass(frozen=True)
class Given:
    """The numbers that a function was given.

    Attributes:
        following: those that follow the size of a tensor, or are a module's.
        literal: whether they are a subscript that counts from the end and is written with constants alone.
    """

    following: frozenset[int] = frozenset()
    literal: bool = False


@dataclass
class TensorTable:
    """Labels of the tensors that a forward has met so far.

    Attributes:
        macs: multiply-accumulates of one forward, by the parameter that the products read.
        users: module paths that used each parameter.
        fault: the first error of the bookkeeping itself; None where all is well.
        given: the numbers that the function was given which runs.
        loose: whether what runs now cuts a dim at numbers that follow the units of each part on their own.
        norm: the call that runs of a module that may be a norm.
        squares: ids of tensors that are squares of others.
    """

    book: LabelBook = field(default_factory=LabelBook)
    macs: dict[str, int] = field(default_factory=dict)
    users: dict[str, set[str]] = field(default_factory=dict)
    loose: bool = False
    fault: Exception | None = None
    given: Given = field(default_factory=lambda: Given())
    norm: NormCall | None = None
    squares: set[int] = field(default_factory=set)
    _known: dict[int, Traced] = field(default_factory=dict)
    _computed: dict[int, tuple[Tensor, str]] = field(default_factory=dict)
    _made: dict[int, tuple[Tensor, str]] = field(default_factory=dict)
    _storages: dict[int, list[Traced]] = field(default_factory=dict)

    @property
    def notes(self) -> list[list[Any] | dict[Any, Any]]:
        """What a forward is written down in."""
        return [self.macs, self.users, *self.book.notes]

    @contextmanager
    def bookkeeping(self) -> Iterator[None]:
        """A context for what is noted while the user's forward runs, whose errors are not the user's."""
        try:
            yield
        except Exception as error:
            self.fault = self.fault or error
            raise

    def add(self, tensor: Tensor, axes: Axes, source: str | None = None) -> None:
        """Give ``tensor`` its labels; they replace older ones."""
        traced = self._known[id(tensor)] = Traced(tensor, axes, source)
        if pointer := storage_pointer(tensor):
            self._storages.setdefault(pointer, []).append(traced)

    def find(self, tensor: Tensor) -> Traced | None:
        """The labels of ``tensor``, None for one that no labelled tensor led to."""
        traced = self._known.get(id(tensor))
        return traced if traced is not None and len(traced.axes) == tensor.dim() else None

    def axes_of(self, tensor: Tensor) -> Axes | None:
        """Its labels alone."""
        found = self.find(tensor)
        return None if found is None else found.axes

    def note_made(self, tensor: Tensor, origin: str) -> None:
        """Note that the forward makes ``tensor`` of plain numbers, and where."""
        self._made[id(tensor)] = tensor, origin

    def made(self, tensor: Tensor) -> str:
        """Where the forward made ``tensor`` of plain numbers; empty where it did not."""
        return self._made[id(tensor)][1] if id(tensor) in self._made else ""

    def note_computed(self, tensor: Tensor, name: str) -> None:
        """Note that ``tensor`` is computed from the parameter ``name``, and from nothing that has other units."""
        self._computed[id(tensor)] = tensor, name

    def computed(self, tensor: Tensor) -> str:
        """The parameter that ``tensor`` is computed from, or a view of; empty where there is none."""
        found = self.find(tensor)
        if found is not None and found.source is not None:
            return found.source
        return self._computed[id(tensor)][1] if id(tensor) in self._computed else ""

    def mark(self, tensor: Tensor, zeroing: Zeroing) -> None:
        """Note what makes ``tensor`` zero."""
        traced = self._known.get(id(tensor))
        if traced is not None and traced.zeroing != zeroing:
            self._known[id(tensor)] = replace(traced, zeroing=zeroing)

    def sharing(self, tensor: Tensor) -> list[Traced]:
        """The labelled tensors that live on the same memory as ``tensor``."""
        return self._storages.get(storage_pointer(tensor), [])


def storage_pointer(tensor: Tensor) -> int:
    """Address of the memory under ``tensor``; 0 where it has none."""
    return tensor.untyped_storage().data_ptr() if tensor.layout == torch.strided else 0
