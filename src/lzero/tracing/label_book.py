"""Labels: one integer for every index of every tensor dim, and the classes that the ops of a forward tie them into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lzero.plan.refusal import Reason
from lzero.tracing.gated_sums import Sum, gated_positions
from lzero.tracing.label import Axes, Classes, IntArray, Slot, Zeroing, fixed
from lzero.tracing.split_dims import Factor, State, decide


@dataclass
class LabelBook:
    """Everything that a forward says about labels, written down as it happens and evaluated once, at the end.

    Attributes:
        slots: the dims that have labels.
        size: the number of labels.
        step: the number of the op that is being written down, -1 outside all.
    """

    slots: list[Slot] = field(default_factory=list)
    size: int = 0
    step: int = -1
    _enrolled: int = 0
    _factors: list[Factor] = field(default_factory=list)
    _left: list[IntArray] = field(default_factory=list)
    _right: list[IntArray] = field(default_factory=list)
    _frozen: list[tuple[IntArray, Reason]] = field(default_factory=list)
    _frozen_by: list[int] = field(default_factory=list)
    _consumed: list[IntArray] = field(default_factory=list)
    _read: list[tuple[str, IntArray]] = field(default_factory=list)
    _sums: list[Sum] = field(default_factory=list)

    @property
    def notes(self) -> list[list[Any] | dict[Any, Any]]:
        """The lists that what a forward says is written down in."""
        own = (self._factors, self._left, self._right, self._frozen, self._frozen_by, self._consumed, self._read)
        return [*own, self._sums]

    def enrol(self, name: str, shape: tuple[int, ...], dims: int | None = None) -> Axes:
        """Fresh labels for the first ``dims`` dims (all by default) of the tensor ``name``.

        A dim of size one stays fixed: a lone unit can never be removed.
        """
        axes = list(fixed(shape))
        for dim, size in enumerate(shape[:dims]):
            if size > 1:
                self.slots.append(Slot(name, dim, self.size + 1, size))
                axes[dim] = np.arange(self.size + 1, self.size + 1 + size, dtype=np.int64)
                self.size += size
        self._enrolled = self.size
        return tuple(axes)

    def fresh(self, size: int) -> IntArray:
        """Labels [size] that lie on no tensor of the model and stand for whatever gets tied to them; 0 for size one.

        All tensors of the model must be enrolled by then.
        """
        if size == 1:
            return np.zeros(1, dtype=np.int64)
        self.size += size
        return np.arange(self.size - size + 1, self.size + 1, dtype=np.int64)

    def factor(self, grid: IntArray, dims: Sequence[IntArray]) -> None:
        """Note that the dim with labels ``grid`` [n_1, ..., n_m] is made of, or cut into, ``dims`` [n_1] to [n_m]."""
        self._factors.append(Factor(grid, tuple(dims)))

    def unify(self, a: IntArray, b: IntArray, reason: Reason) -> None:
        """Tie ``a[i]`` to ``b[i]``: both stay or both go. Where one is fixed, the other freezes for ``reason``."""
        if a is b:
            return
        free = (a != 0) & (b != 0) & (a != b)
        if free.any():
            self._left.append(a[free])
            self._right.append(b[free])
        self.freeze(np.where(b == 0, a, 0), reason)
        self.freeze(np.where(a == 0, b, 0), reason)

    def freeze(self, labels: IntArray, reason: Reason) -> None:
        """Forbid the removal of ``labels`` and of all that gets tied to them."""
        labels = labels[labels != 0]
        if labels.size:
            self._frozen.append((labels, reason))
            self._frozen_by.append(self.step)

    def freeze_at(self, step: int, labels: IntArray, reason: Reason) -> None:
        """Freeze ``labels`` as the op with that number did."""
        before, self.step = self.step, step
        self.freeze(labels, reason)
        self.step = before

    def thaw(self, steps: set[int]) -> None:
        """Take back what was frozen while :attr:`step` was one of ``steps``."""
        left = [(f, step) for f, step in zip(self._frozen, self._frozen_by, strict=True) if step not in steps]
        self._frozen, self._frozen_by = [f for f, _ in left], [step for _, step in left]

    def consume(self, name: str, labels: IntArray) -> None:
        """Mark ``labels`` as positions of parameter ``name`` that a product contracts over: a gate can multiply there.

        Labels of a reshaped parameter stand for positions of the dim that carries them.
        """
        own = labels <= self._enrolled
        self._consumed.append(labels[own])
        if not own.all():
            self._read.append((name, labels[~own]))

    def sum_over(self, labels: IntArray, ways: tuple[Zeroing, ...], reason: Reason) -> None:
        """Note a sum over ``labels``, which ``reason`` forbids unless the parameters of one of ``ways`` gate it."""
        self._sums.append(Sum(labels, ways, reason))

    def classes(self) -> Classes:
        """The classes that all the ties together make."""
        self._gate_sums()
        decide(self._factors, self._state, self._settle)
        self._factors.clear()
        component, smallest = self._components()
        self._consume_reshaped(component)
        count = self._enrolled + 1

        reasons = _by_use([reason for _, reason in self._frozen])
        rank = {reason: position for position, reason in enumerate(reasons)}
        first = np.full(component.size, len(reasons), dtype=np.int64)
        for labels, reason in self._frozen:
            np.minimum.at(first, component[labels], rank[reason])
        first[first == len(reasons)] = -1

        consumer = np.zeros(component.size, dtype=np.bool_)
        consumer[_joined(self._consumed)] = True
        consumer[0] = False
        root, why = smallest[component], first[component]
        slot = np.repeat(np.arange(-1, len(self.slots)), [1, *(slot.size for slot in self.slots)])
        everywhere = np.where(why < 0, root, 0)
        return Classes(root[:count], why[:count], consumer[:count], slot, tuple(self.slots), tuple(reasons), everywhere)

    def _components(self) -> tuple[IntArray, IntArray]:
        """The number of each label's class, [labels + 1], and the smallest label of each class."""
        count = self.size + 1
        left, right = _joined(self._left), _joined(self._right)
        self._left, self._right = [left], [right]
        graph = coo_array((np.ones(left.size, dtype=np.int8), (left, right)), shape=(count, count))
        component = connected_components(graph, directed=False)[1].astype(np.int64)
        smallest = np.full(count, count, dtype=np.int64)
        smallest[component[::-1]] = np.arange(count)[::-1]  # the last to be written, the smallest, stays
        return component, smallest

    def _gate_sums(self) -> None:
        component, _ = self._components()
        for total in self._sums:
            positions = gated_positions(total, self.slots, component)
            if positions is None:
                self.freeze(total.labels, total.reason)
            else:
                self._consumed.extend(positions)
        self._sums.clear()

    def _consume_reshaped(self, component: IntArray) -> None:
        """Mark the positions that reshaped parameters are read at; freeze where one dim alone cannot say which."""
        for name, labels in self._read:
            slots = [slot for slot in self.slots if slot.tensor == name]
            positions = [np.arange(slot.start, slot.start + slot.size) for slot in slots]
            read = [found[np.isin(component[found], component[labels])] for found in positions]
            dims = sum(found.size > 0 for found in read)
            if dims == 1:
                self._consumed.extend(read)
            else:
                self.freeze(labels, _TWO_DIMS)
        self._read.clear()

    def _state(self) -> State:
        component, smallest = self._components()
        frozen = np.full(component.size, -1, dtype=np.int64)
        order = np.repeat(np.arange(len(self._frozen)), [labels.size for labels, _ in self._frozen])
        frozen[component[_joined([labels for labels, _ in self._frozen])[::-1]]] = order[::-1]  # the first stays
        return State(smallest[component], frozen[component], self._enrolled)

    def _settle(self, factor: Factor, carrier: int) -> None:
        """Tie the long dim of ``factor`` to its ``carrier`` and freeze its other dims."""
        for position, labels in enumerate(factor.dims):
            if position == carrier:
                rows = factor.rows(position)
                self.unify(rows.reshape(-1), np.repeat(labels, rows.shape[1]), _SPLIT)
            else:
                self.freeze(labels, _SPLIT)


_TWO_DIMS = Reason("it is read along several dims of one tensor at once")
_SPLIT = Reason("the forward splits the units by a literal size")


def _joined(arrays: list[IntArray]) -> IntArray:
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype=np.int64)


def _by_use(reasons: list[Reason]) -> list[Reason]:
    """Distinct reasons, the earliest first; those without a text last, so that they never hide one that has."""
    return sorted(dict.fromkeys(reasons), key=lambda reason: not reason.text)
