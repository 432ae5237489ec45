"""Watching what a forward learns about sizes: the sizes that it reads become numbers that note every question."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from lzero.host.module_path import ModulePath
from lzero.host.tensors import tensors_in
from lzero.plan.refusal import Reason
from lzero.surgery.layer_sizes import has_rule
from lzero.surgery.numbers.spots import watched_numbers
from lzero.surgery.replacements import is_replaced
from lzero.tracing.guards import (
    DimSize,
    Guard,
    GuardLog,
    ModuleNumber,
    SizeExpr,
    SizeUse,
    in_library,
    skip_frames_of,
    user_frame,
)
from lzero.tracing.label import Axes, Classes, IntArray
from lzero.tracing.literals import counts_from_the_end, numbers_in, written_as_constant
from lzero.tracing.size_int import SizeInt, plain
from lzero.tracing.size_uses import cuts_by_numbers, uses_of
from lzero.tracing.tensor_table import Given, TensorTable, storage_pointer

skip_frames_of(__name__)

_SHAPE = Tensor.shape.__get__  # type: ignore[attr-defined]
_COUNTS = (Tensor.numel, Tensor.nelement, torch.numel)
_LEAVES_TORCH = {
    Tensor.__len__: "takes its len(); x.shape[0] can be followed",
    Tensor.numpy: "turns it into a NumPy array",
    Tensor.__array__: "turns it into a NumPy array",
    Tensor.tolist: "turns it into a list",
    Tensor.stride: "reads its strides",
    Tensor.untyped_storage: "reads its memory",
    Tensor.__dlpack__: "hands its memory to another library",
    Tensor.nbytes.__get__: "reads its size in bytes",  # type: ignore[attr-defined]
}
_MULTIPLY = (torch.matmul, Tensor.matmul, Tensor.__matmul__, Tensor.__rmatmul__, scaled_dot_product_attention)
_EXPANDS = (Tensor.expand_as, Tensor.__setitem__, torch.broadcast_tensors, *_MULTIPLY)
_COMPUTES = {"add", "sub", "mul", "div", "truediv", "floordiv", "pow", "mod", "multiply", "divide", "subtract", "fill"}
_COMPUTES |= {"true_divide", "floor_divide", "remainder", "fmod", "eq", "ne", "lt", "le", "gt", "ge", "clamp", "where"}


class SizeMode(TorchFunctionMode):
    """A mode in which ``x.shape`` and the whole numbers of modules are :class:`SizeInt`, where units may leave.

    Args:
        table: of the labels.
        where: the module that runs.
        loose: leave parts of a dim free of each other where it is cut at numbers of modules.

    Attributes:
        read: memory of the tensors whose sizes were read.
        loosens: whether a dim was cut so.
    """

    def __init__(self, table: TensorTable, where: ModulePath, *, loose: bool = False) -> None:
        super().__init__()
        self.loosens, self._loose = False, loose
        self._ruled = set[str]()  # paths of modules whose numbers are set by rules
        self._table, self._where = table, where
        self._log = GuardLog(lambda: where.current)
        self.read: set[int] = set()
        self._made: dict[int, tuple[IntArray, Guard]] = {}  # by first label: sizes of constants of the forward

    def guards(self, classes: Classes) -> list[Guard]:
        """What Python learnt: all that was asked so far, and the sizes of constants that turned out to be fixed."""
        fixed = [guard for labels, guard in self._made.values() if (classes.everywhere[labels] == 0).any()]
        return [*self._log.guards, *fixed]

    @property
    def notes(self) -> list[list[Any] | dict[Any, Any]]:
        """What a forward is written down in."""
        return [self._log.guards, self._log.uses, self._made]

    @property
    def uses(self) -> list[SizeUse]:
        """The numbers that the forward has asked dims to be long."""
        return self._log.uses

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The result of ``func``, its sizes watched."""
        self._table.given = self._given(func, args, kwargs)
        cuts = cuts_by_numbers(func, args, kwargs, self._ruled, self._axes_of)
        self.loosens |= cuts
        self._table.loose = cuts and self._loose
        try:
            out = func(*args, **(kwargs or {}))
        except Exception as error:
            self._freeze([*tensors_in(args)], f"an op on it fails ({type(error).__name__}) and the forward goes on")
            raise
        with self._table.bookkeeping():
            return self._followed(func, out, args, kwargs or {})

    def _given(self, func: Any, args: Any, kwargs: Any) -> Given:
        """The numbers among the arguments that are watched; of what is expanded as another tensor, that one's sizes."""
        watched = list(_watched_in(args, kwargs))
        follow = {plain(number) for number in watched}
        for tensor in args if func in _EXPANDS else ():
            found = self._table.find(tensor) if isinstance(tensor, Tensor) else None
            follow |= {labels.size for labels in (found.axes if found is not None else ()) if labels.any()}
        literal = func is Tensor.__getitem__ and counts_from_the_end(args[1]) and written_as_constant(user_frame())
        return Given(frozenset(follow), literal)

    def _followed(self, func: Any, out: Any, args: Any, kwargs: Any) -> Any:
        """``out``, the result of ``func``, with its sizes watched."""
        if func == _SHAPE or func is Tensor.size or func in _COUNTS:
            return out if in_library(user_frame()) else self._read(func, args[0], out, args[1:], kwargs)
        if func in _LEAVES_TORCH:
            if not in_library(user_frame()):
                self.read.add(storage_pointer(args[0]))
                self._freeze([args[0]], f"the forward {_LEAVES_TORCH[func]}", 1 if func is Tensor.__len__ else None)
        elif watched := list(_watched_in(args, kwargs)):
            self._handed_over(func, out, args, watched)
        for expr, labels in uses_of(func, out, args, kwargs, self._log, self._axes_of):
            self._log.used(expr, labels)
        return out

    def _axes_of(self, tensor: Any) -> Axes | None:
        found = self._table.find(tensor) if isinstance(tensor, Tensor) else None
        return None if found is None else found.axes

    def _read(self, func: Any, tensor: Tensor, out: Any, args: Any, kwargs: Any) -> Any:
        self.read.add(storage_pointer(tensor))
        axes = self._axes(tensor)
        if axes is None:
            return out
        sizes = [self._watched(labels.size, labels) for labels in axes]
        if func in _COUNTS:
            count: Any = 1
            for size in sizes:
                count = size * count
            return count
        if isinstance(out, torch.Size):
            return torch.Size(sizes)
        return sizes[plain(args[0] if args else kwargs["dim"])]

    def _watched(self, size: int, labels: Any) -> int:
        if size < 2 or not labels.any():
            return size
        made = self._made.get(int(labels[0]))
        return SizeInt(size, made[1].expr if made else SizeExpr.of(DimSize(labels)), self._log)

    def _axes(self, tensor: Tensor) -> Axes | None:
        """The labels of ``tensor``; None where nothing labelled led to it."""
        found = self._table.find(tensor)
        if found is None:
            for relative in self._table.sharing(tensor):
                self._freeze([relative.tensor], "its size is read from a tensor that cannot be followed")
            return None
        return found.axes

    def _handed_over(self, func: Any, out: Any, args: Any, watched: list[SizeInt]) -> None:
        """SizeInt numbers go to ``func``: sizes may, if the tensor that comes back has labels; values may not."""
        name = getattr(func, "__name__", "").strip("_")
        name = name[1:] if name[:1] in "ri" and name[1:] in _COMPUTES else name
        lost = any(self._table.find(tensor) is None for tensor in tensors_in(out))
        for number in watched:
            if name in _COMPUTES:
                self._log.ask(number.expr, f"computes ({name}) with its size")
            elif lost:
                self._log.ask(number.expr, f"makes a tensor that cannot be followed ({name}) of its size")
        if name.removeprefix("new_") in ("zeros", "ones", "full", "empty") and not in_library(user_frame()):
            self._remember(out, [size for size in _flat(args) if isinstance(size, int)])

    def _remember(self, constant: Tensor, sizes: list[int]) -> None:
        """The dims of a ``constant`` that the forward makes have the ``sizes`` that it asked for."""
        found = self._table.find(constant)
        for labels, size in zip(found.axes if found is not None else (), sizes, strict=False):
            if isinstance(size, SizeInt) and labels.any():
                act = "makes a constant of its size"
                self._made[int(labels[0])] = labels, self._log.exactly(size.expr, act)

    def _freeze(self, tensors: list[Any], why: str, dims: int | None = None) -> None:
        """Freeze the labels on the first ``dims`` dims, all by default."""
        place = f" (in {self._where.current})" if self._where.current else ""
        for tensor in tensors:
            found = self._table.find(tensor) if isinstance(tensor, Tensor) else None
            for labels in found.axes[:dims] if found is not None else ():
                self._table.book.freeze(labels, Reason(why + place))

    @contextmanager
    def numbers_of(self, model: nn.Module) -> Iterator[None]:
        """A context in which the whole numbers that the modules of ``model`` keep are watched."""
        self._ruled = {path for path, module in model.named_modules() if has_rule(module)}
        self._log.ignored = {path for path, module in model.named_modules() if is_replaced(module)}
        replaced: list[tuple[nn.Module, str, Any, Any]] = []
        for path, module in model.named_modules():
            for name, value in list(vars(module).items()):
                watched = watched_numbers(value, name, partial(self._number, path), deep=path not in self._ruled)
                if watched is not value:
                    vars(module)[name] = watched
                    replaced.append((module, name, value, watched))
        try:
            yield
        finally:
            for module, name, value, watched in replaced:
                if vars(module).get(name) is watched:
                    vars(module)[name] = value
            for module in model.modules():
                for name, value in list(vars(module).items()):
                    vars(module)[name] = plain(value)

    def _number(self, path: str, name: str, place: int, value: int) -> SizeInt:
        return SizeInt(value, SizeExpr.of(ModuleNumber(path, name, place)), self._log)


def _watched_in(args: Any, kwargs: Any) -> Iterator[SizeInt]:
    """The watched numbers among arguments, and in lists, tuples and slices of them."""
    return (value for value in numbers_in((*args, *(kwargs or {}).values())) if isinstance(value, SizeInt))


def _flat(args: Any) -> Iterator[Any]:
    for value in args:
        yield from value if isinstance(value, tuple | list) else (value,)
