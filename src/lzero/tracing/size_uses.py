"""Where a number of the forward becomes the length of a dim: views, splits, slices, and tensors that it makes."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from lzero.tracing.guards import DimSize, GuardLog, SizeExpr, skip_frames_of
from lzero.tracing.label import Axes, IntArray
from lzero.tracing.size_int import SizeInt, plain

skip_frames_of(__name__)

Use = tuple[SizeExpr, IntArray]
_AxesOf = Callable[[Any], Axes | None]
_VIEWS = ("view", "reshape", "_unsafe_view")
_MADE = ("zeros", "ones", "empty", "full", "rand", "randn")
_SPLITS = ("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes", "tensor_split")


def uses_of(func: Any, out: Any, args: Any, kwargs: Any, log: GuardLog, axes_of: _AxesOf) -> Iterator[Use]:
    """The numbers noted in ``log`` that one call has given to dims of its results, each with the labels of its dim."""
    name = getattr(func, "__name__", "")
    if name in _VIEWS:
        found = _aligned(axes_of(out), _sizes(args[1:], kwargs, ("shape", "size")), 0)
    elif name == "expand":
        sizes = _sizes(args[1:], kwargs, ("size", "sizes"))
        found = _aligned(axes_of(out), sizes, 0)
    elif name == "unflatten":
        axes, sizes = axes_of(out), _sizes(args[2:], kwargs, ("sizes",))
        dim = plain(args[1] if len(args) > 1 else kwargs.get("dim", 0))
        found = _aligned(axes, sizes, dim if dim >= 0 or axes is None else dim + len(axes) - len(sizes) + 1)
    elif name.removeprefix("new_") in _MADE:
        sizes = _sizes(args[1:] if name.startswith("new_") else args, kwargs, ("size",))
        found = _aligned(axes_of(out), sizes, 0)
    elif name in _SPLITS:
        found = _parts(out, args, kwargs, axes_of)
    elif name == "narrow":
        given = [*args[1:], *(kwargs[key] for key in ("dim", "start", "length") if key in kwargs)]
        axes = axes_of(out)
        found = iter(()) if axes is None else iter([(given[2], axes[plain(given[0])])])
    elif name == "__getitem__":
        found = _slices(axes_of(args[0]), axes_of(out), args[1])
    else:
        return
    for size, labels in found:
        if isinstance(size, SizeInt) and size.log is log and plain(size) == labels.size:
            yield size.expr, labels


def cuts_by_numbers(func: Any, args: Any, kwargs: Any, ruled: Container[str], axes_of: _AxesOf) -> bool:
    """Whether a call cuts a dim at numbers that modules keep, those at ``ruled`` paths left out, and at nothing else.

    Sizes of other tensors count as such. Such numbers may follow the units of each part on their own; what is cut at
    literal places has to lose alike.
    """
    name = getattr(func, "__name__", "")
    if name not in ("__getitem__", "__setitem__", "narrow", *_SPLITS):
        return False
    own = axes_of(args[0]) or ()
    if name in ("__getitem__", "__setitem__"):
        entries = args[1] if isinstance(args[1], tuple) else (args[1],)
        slices = [e for e in entries if isinstance(e, slice) and not (e.start is e.stop is e.step is None)]
        bounds = [0 if bound is None else bound for e in slices for bound in (e.start, e.stop)]
        known = all(_kept(bound, ruled, own) or plain(bound) == 0 for bound in bounds)
        return known and any(_kept(bound, ruled, own) for bound in bounds) and all(e.step is None for e in slices)
    if name == "narrow":
        named = kwargs or {}
        given = [*args[2:], *(named[key] for key in ("start", "length") if key in named)]
        return all(_kept(n, ruled, own) or plain(n) == 0 for n in given) and any(_kept(n, ruled, own) for n in given)
    sizes = args[1] if len(args) > 1 else None
    return isinstance(sizes, tuple | list) and all(_kept(size, ruled, own) for size in sizes)


def _kept(value: Any, ruled: Container[str], own: Axes) -> bool:
    """Whether ``value`` is computed from numbers of modules, or from sizes of dims that are not among ``own``."""
    symbols = value.expr.symbols if isinstance(value, SizeInt) else ()
    return any(
        not any(np.array_equal(symbol.labels, labels) for labels in own)
        if isinstance(symbol, DimSize)
        else symbol.path not in ruled
        for symbol in symbols
    )


def _sizes(args: Sequence[Any], kwargs: Any, names: Sequence[str]) -> list[Any]:
    """The sizes among positional arguments, one by one or as a list, or under one of ``names``."""
    given = next((kwargs[name] for name in names if name in kwargs), None)
    first = given if given is not None else args[0] if args else ()
    return list(first) if isinstance(first, tuple | list) else list(args)


def _aligned(axes: Axes | None, sizes: Sequence[Any], start: int) -> Iterator[tuple[Any, IntArray]]:
    for offset, size in enumerate(sizes if axes is not None else ()):
        if axes is not None and 0 <= start + offset < len(axes):
            yield size, axes[start + offset]


def _parts(out: Any, args: Any, kwargs: Any, axes_of: _AxesOf) -> Iterator[tuple[Any, IntArray]]:
    """Of parts of one size all but the last, which may be shorter; of a list of sizes each."""
    names = ("split_size_or_sections", "split_size", "split_sizes")
    given = next((kwargs[name] for name in names if name in kwargs), None)
    sizes = args[1] if given is None and len(args) > 1 else given
    dim = plain(args[2] if len(args) > 2 else kwargs.get("dim", 0))
    if not isinstance(out, tuple | list):
        return
    each = sizes if isinstance(sizes, tuple | list) else [sizes] * (max(len(out) - 1, 1))
    for size, part in zip(each, out, strict=False):
        axes = axes_of(part)
        if axes is not None:
            yield size, axes[dim]


def _slices(before: Axes | None, after: Axes | None, index: Any) -> Iterator[tuple[Any, IntArray]]:
    """The lengths of slices without a step, where all other indices are whole numbers, None or an ellipsis."""
    entries = list(index) if isinstance(index, tuple) else [index]
    if before is None or after is None or any(isinstance(e, Tensor | list | bool) for e in entries):
        return
    taken = sum(entry is not None and entry is not Ellipsis for entry in entries)
    old = new = 0
    for entry in entries:
        if entry is Ellipsis:
            old, new = old + len(before) - taken, new + len(before) - taken
        elif entry is None:
            new += 1
        elif isinstance(entry, slice):
            if entry.step is None:
                yield from _bounds(entry, before[old], after[new])
            old, new = old + 1, new + 1
        else:
            old += 1


def _bounds(entry: slice, labels: IntArray, taken: IntArray) -> Iterator[tuple[Any, IntArray]]:
    """How much of ``labels`` lies before a slice, and how much is ``taken``, where numbers of the forward say so."""
    bound = next((b for b in (entry.start, entry.stop) if isinstance(b, SizeInt)), None)
    if bound is None:
        return
    whole = SizeInt(labels.size, SizeExpr.of(DimSize(labels)), bound.log)
    start = 0 if entry.start is None else entry.start
    stop = whole if entry.stop is None else entry.stop
    start = whole + start if plain(start) < 0 else start
    stop = whole + stop if plain(stop) < 0 else stop
    yield start, labels[: plain(start)]
    yield stop - start, taken
