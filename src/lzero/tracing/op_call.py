"""One ATen call as its rule sees it: arguments by name, labels of every tensor, and what a rule can say about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from lzero._torch import arguments_of
from lzero.plan.refusal import Reason
from lzero.tracing.label import Axes, IntArray, Zeroing, fixed
from lzero.tracing.norm_call import Part, Reduction
from lzero.tracing.tensor_table import TensorTable

_NO_GATE = "it must match a size that no gate controls"
_REGISTER = (
    "numbers of which each belongs to a unit (the slopes of ALiBi, one a head) are cut with the units where they are a "
    "buffer of the module (register_buffer)"
)
_NATIVE = (("weight",), ("bias",))
_AFFINE: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "aten.native_layer_norm": _NATIVE,
    "aten.native_group_norm": _NATIVE,
    "aten._fused_rms_norm": _NATIVE,
    "aten.mul": (("self", "other"), ()),
    "aten.add": ((), ("self", "other")),
    "aten.addcmul": (("tensor1", "tensor2"), ("self",)),
}
"""By the op, the arguments that are weights and biases of a norm."""


class OpCall:
    """An op, its arguments by schema name with defaults filled in (``call["dim"]``), and its output.

    Attributes:
        before: strides and offset of its first argument before it ran, where it changes those.
    """

    def __init__(
        self,
        func: Any,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        out: Any,
        table: TensorTable,
        path: str,
        before: tuple[tuple[int, ...], int] | None = None,
    ):
        self.before = before
        self.func, self.out, self.path, self._table = func, out, path, table
        self.op = str(func.overloadpacket)  # e.g. "aten.addmm"
        schema = arguments_of(func)
        self.arguments: dict[str, Any] = {a.name: a.default_value for a in schema if a.has_default_value()}
        self.arguments.update(zip((a.name for a in schema), args, strict=False))
        self.arguments.update(kwargs)

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str) -> Any:
        """The argument ``name``, None where the overload has none."""
        return self.arguments.get(name)

    @property
    def loose(self) -> bool:
        """Whether the op cuts a dim at numbers that follow the units of each part on their own."""
        return self._table.loose

    @property
    def outputs(self) -> list[Tensor]:
        """The tensors that the op returned."""
        return list(_flat(self.out))

    @property
    def inputs(self) -> list[Tensor]:
        """The tensors among the arguments, also those in lists."""
        return list(_flat(list(self.arguments.values())))

    def axes(self, tensor: str | Tensor) -> Axes:
        """Labels of a tensor, or of the argument of that name; a tensor that nothing labelled led to is fixed."""
        value = self.arguments[tensor] if isinstance(tensor, str) else tensor
        traced = self._table.find(value)
        return fixed(tuple(value.shape)) if traced is None else traced.axes

    def source(self, name: str) -> str | None:
        """The parameter that argument ``name`` is a pure view of."""
        traced = self._table.find(self.arguments[name])
        return None if traced is None else traced.source

    def computed(self, name: str) -> str:
        """The parameter that argument ``name`` is computed from in the forward; empty where it is none's."""
        return self._table.computed(self.arguments[name])

    def zeroing(self, name: str, *, parameter: bool = False) -> Zeroing:
        """What makes argument ``name`` zero; itself, if it is a ``parameter`` and that counts."""
        value = self.arguments[name]
        traced = self._table.find(value) if isinstance(value, Tensor) else None
        if traced is None:
            return frozenset()
        return frozenset((traced.source,)) if parameter and traced.source else traced.zeroing

    def sum_over(self, labels: IntArray, *names: str, why: str, advice: str) -> None:
        """Note that units with ``labels`` are summed, in the product of arguments ``names``; see :mod:`zeros`."""
        ways = tuple(way for name in names if (way := self.zeroing(name)))
        if ways:
            self._table.book.sum_over(labels, ways, self.reason(why, advice))
        else:
            self.freeze(labels, why, advice)

    def set_output(self, axes: Sequence[IntArray], out: Tensor | None = None, *, view_of: str | None = None) -> None:
        """Set the labels of the output (of ``out`` among several); ``view_of`` names the argument it is a view of."""
        tensor = self.outputs[0] if out is None else out
        sizes = tuple(axis.size for axis in axes)
        if sizes != tuple(tensor.shape):
            raise ValueError(f"labels of sizes {sizes} for a tensor of shape {tuple(tensor.shape)}")
        self._table.add(tensor, tuple(axes), None if view_of is None else self.source(view_of))

    def unify(self, a: IntArray, b: IntArray, why: str = _NO_GATE) -> IntArray:
        """Tie two label arrays of one length; returns labels for both, not the fixed where one is free."""
        self._table.book.unify(a, b, self._reason_of_meeting(a, b, why))
        return np.where((a == 0) | (b == 0), np.maximum(a, b), np.minimum(a, b))

    def _reason_of_meeting(self, a: IntArray, b: IntArray, why: str) -> Reason:
        """Why neither may leave, where one of them is fixed; numbers that the forward makes are named."""
        if why == _NO_GATE and not (a.any() and b.any()):
            for tensor in self.inputs:
                if (origin := self._table.made(tensor)) and a.size in tensor.shape:
                    return self.reason(f"{_NO_GATE}, that of numbers which the forward makes ({origin})", _REGISTER)
        return self.reason(why)

    def unify_rows(self, rows: IntArray, why: str = _NO_GATE) -> IntArray:
        """Tie all labels in each row of ``rows`` [n, m] together; returns one label per row, [n]."""
        first = np.ascontiguousarray(rows[:, 0])
        for column in range(1, rows.shape[1]):
            first = self.unify(first, np.ascontiguousarray(rows[:, column]), why)
        return first

    def fresh(self, size: int) -> IntArray:
        """Labels [size] of the forward's own, which stand for whatever gets tied to them."""
        return self._table.book.fresh(size)

    def factor(self, grid: IntArray, dims: Sequence[IntArray]) -> None:
        """Note that a dim with labels ``grid`` [n_1, ..., n_m] is made of, or cut into, ``dims`` [n_1] to [n_m]."""
        self._table.book.factor(grid, dims)

    def follows(self, size: int) -> bool:
        """Whether a number of this ``size`` that the op was given follows the size of a tensor, or is a module's."""
        return size in self._table.given.following

    @property
    def literal(self) -> bool:
        """Whether it is a subscript that counts from the end and is written with constants alone."""
        return self._table.given.literal

    def freeze(self, labels: IntArray, why: str, advice: str = "") -> None:
        """Forbid the removal of ``labels``; ``why`` completes "it is not gated because", an empty one stays unsaid."""
        self._table.book.freeze(labels, self.reason(why, advice))

    def normalises(
        self, part: Part, tensor: str, dims: Sequence[int], why: str, advice: str, channel_groups: int = 0
    ) -> bool:
        """Whether a statistic over ``dims`` of argument ``tensor`` may be part of a norm that units may pass.

        It is noted then: the units freeze for ``why``, if the module that runs turns out to be no norm.
        """
        axes = self.axes(tensor)
        shape = tuple(labels.size for labels in axes)
        running = self._table.norm
        units = [dim for dim in dims if axes[dim].any()]
        if running is None or running.path != self.path or len(units) != 1:
            return False
        over = tuple(sorted(dim % len(shape) - len(shape) for dim in dims))
        reason = self.reason(why, advice)
        made = Reduction(part, axes[units[0]], shape, over, channel_groups, reason, self._table.book.step)
        running.reductions.append(made)
        return True

    def note_parameters(self) -> None:
        """Note which parameters of a module that may be a norm are multiplied and added here as they are."""
        running, affine = self._table.norm, _AFFINE.get(self.op.removesuffix("_"))
        if running is None or affine is None or self.outputs[0].dim() < len(running.axes):
            return
        for found, names in zip((running.weights, running.biases), affine, strict=True):
            for name in names:
                value = self.arguments.get(name)
                leaf = running.leaves.get(self.source(name) or "") if isinstance(value, Tensor) else None
                if leaf is not None and leaf not in found:
                    found.append(leaf)

    @property
    def squares(self) -> bool:
        """Whether the output is the square of the input."""
        if self.op in ("aten.pow", "aten.square"):
            return self.op == "aten.square" or self.get("exponent") == 2
        return self.op == "aten.mul" and self.get("self") is self.get("other")

    def is_square(self, tensor: str) -> bool:
        """Whether argument ``tensor`` is the square of another."""
        return id(self.arguments[tensor]) in self._table.squares

    def freeze_dims(self, axes: Sequence[IntArray], dims: Sequence[int], why: str, advice: str = "") -> Axes:
        """Freeze the labels on ``dims``; returns all ``axes`` as they were, for the output."""
        for dim in dims:
            self.freeze(axes[dim], why, advice)
        return tuple(axes)

    def consume(self, name: str, labels: IntArray) -> None:
        """Mark ``labels`` of the parameter behind argument ``name`` as read by a product here."""
        source = self.source(name)
        if source is not None:
            self._table.book.consume(source, labels)

    def count(self, name: str, macs: int) -> None:
        """Add ``macs`` multiply-accumulates to the parameter behind argument ``name``."""
        source = self.source(name)
        if source is not None:
            self._table.macs[source] = self._table.macs.get(source, 0) + macs

    def reason(self, why: str, advice: str = "") -> Reason:
        """``why`` with the op and the place added."""
        return Reason(f"{why} ({self.op}{f' in {self.path}' if self.path else ''})" if why else "", advice)


def _flat(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _flat(item)


def dims_of(value: int | Sequence[int] | None, count: int) -> list[int]:
    """A ``dim`` argument as a list of dims that are not negative; None and an empty list mean all."""
    if value is None:
        return list(range(count))
    given = [value] if isinstance(value, int) else list(value)
    return [dim % count for dim in given] if given and count else list(range(count))
