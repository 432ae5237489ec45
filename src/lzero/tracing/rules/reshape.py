"""Reshaping: blocks of dims that are merged, split, or both."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from lzero.tracing.label import IntArray, fixed
from lzero.tracing.op_call import OpCall
from lzero.tracing.rules.registry import rule
from lzero.tracing.rules.zeros import with_self

_LARGEST = 1 << 18  # more labels than this for one merged dim cost more than they can bring


@rule("aten.view", "aten.reshape", "aten._unsafe_view", "aten._reshape_alias", zeros=with_self)
def reshape(call: OpCall) -> None:
    """Elements keep their order: each block of old dims becomes a block of new dims with as many elements."""
    axes, shape = call.axes("self"), tuple(call.outputs[0].shape)
    old = tuple(labels.size for labels in axes)
    if "dtype" in call.arguments or math.prod(old) != math.prod(shape):
        raise NotImplementedError("a view of other elements than those of the tensor")
    new = list(fixed(shape))
    pure = True
    held, wanted = ([n or 1 for n in sizes] for sizes in (old, shape))  # an empty dim is one that stays alone
    if math.prod(held) != math.prod(wanted):
        raise NotImplementedError("a view of a tensor without elements")
    for old_dims, new_dims in blocks(held, wanted):
        block = [axes[dim] for dim in old_dims]
        if any(labels.any() for labels in block):
            made, whole = _regroup(call, block, [shape[dim] for dim in new_dims])
            pure &= whole
            for dim, labels in zip(new_dims, made, strict=True):
                new[dim] = labels
    call.set_output(new, view_of="self" if pure else None)


@rule("aten.as_strided", zeros=with_self)
def as_strided(call: OpCall) -> None:
    """The same elements in the same order, as pooling to one pixel writes them down; any other way of reading freezes.

    The stride of a dim of size one says nothing.
    """
    axes, size, stride = call.axes("self"), tuple(call["size"]), tuple(call["stride"])
    before, offset = call.before or ((), 0)
    alike = size == tuple(labels.size for labels in axes) and call["storage_offset"] in (None, offset)
    if alike and all(n == 1 or a == b for n, a, b in zip(size, before, stride, strict=True)):
        call.set_output(axes, view_of="self")
        return
    call.freeze_dims(axes, range(len(axes)), "the forward reads its memory in strides of its own")
    call.set_output(fixed(size))


def blocks(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """The smallest runs of old and new dims that hold the same number of elements, in order.

    >>> blocks((2, 50, 4, 4), (2, 800))
    [([0], [0]), ([1, 2, 3], [1])]
    """
    found: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old) or j < len(new):
        left, right = old[i : i + 1], new[j : j + 1]
        olds, news = list(range(i, i + len(left))), list(range(j, j + len(right)))
        i, j = i + len(left), j + len(right)
        have, want = math.prod(left), math.prod(right)
        while have != want:
            if have < want:
                have *= old[i]
                olds.append(i)
                i += 1
            else:
                want *= new[j]
                news.append(j)
                j += 1
        found.append((olds, news))
    return found


def _regroup(call: OpCall, block: Sequence[IntArray], shape: Sequence[int]) -> tuple[list[IntArray], bool]:
    """Labels of the dims ``shape`` that a block of dims becomes, and whether they stand for all of the old.

    Old dims are cut, and the pieces joined to new dims, at every place where one of either ends:
    (batch, heads * features) -> (batch * heads, features) cuts the second dim in two.
    """
    old = [labels.size for labels in block]
    ends = [int(np.prod(sizes[: i + 1])) for sizes in (old, list(shape)) for i in range(len(sizes))]
    steps = sorted({1, *ends})
    if any(b % a for a, b in itertools.pairwise(steps)):
        for labels in block:
            call.freeze(labels, "the forward reads it in sizes that do not divide each other")
        return list(fixed(tuple(shape))), False
    sizes = [b // a for a, b in itertools.pairwise(steps)]
    pieces, whole = list[IntArray](), True
    for labels in block:
        cut = _run(sizes[len(pieces) :], labels.size)
        pieces += _split(call, labels, cut)
    new = []
    for size in shape:
        taken = _run([piece.size for piece in pieces], size)
        merged, simple = _merge(call, pieces[: len(taken)])
        pieces = pieces[len(taken) :]
        new.append(merged)
        whole &= simple
    return new, whole


def _run(sizes: Sequence[int], total: int) -> list[int]:
    """The first of ``sizes`` whose product is ``total``."""
    run = list[int]()
    while math.prod(run) != total:
        run.append(sizes[len(run)])
    return run


def _split(call: OpCall, flat: IntArray, shape: Sequence[int]) -> list[IntArray]:
    """Labels [n_1] to [n_m] of ``flat`` cut into dims of ``shape``.

    Where labels vary along one new dim only, that dim takes them. Otherwise which dim does is decided later.
    """
    grid, axes = flat.reshape(shape), list(fixed(tuple(shape)))
    if len(shape) == 1:
        return [flat]
    varying = [dim for dim in range(len(shape)) if (grid != grid.take([0], axis=dim)).any()]
    grid = grid[tuple(slice(None) if dim in varying else 0 for dim in range(len(shape)))]
    if not varying:
        call.freeze(flat, "one unit is spread over many")
        return axes
    if len(varying) == 1:
        axes[varying[0]] = grid.copy()
        return axes
    for dim in varying:
        axes[dim] = call.fresh(shape[dim])
    call.factor(grid, [axes[dim] for dim in varying])
    return axes


def _merge(call: OpCall, parts: Sequence[IntArray]) -> tuple[IntArray, bool]:
    """Labels of dims flattened to one; False where some dims were left out.

    Where one dim alone has labels, they repeat over the others. Otherwise which dim takes part is decided later.
    """
    sizes = [labels.size for labels in parts]
    labelled, whole = [position for position, labels in enumerate(parts) if labels.any()], True
    if len(labelled) > 1 and math.prod(sizes[position] for position in labelled) > _LARGEST:
        main = max(labelled, key=lambda position: np.unique(parts[position]).size)
        for position in labelled:
            if position != main:
                call.freeze(parts[position], "it is flattened together with a dim that has more units")
        labelled, whole = [main], False
    if not labelled:
        return np.zeros(math.prod(sizes), dtype=np.int64), True
    grid = parts[labelled[0]]
    if len(labelled) > 1:
        small = [sizes[position] for position in labelled]
        grid = call.fresh(math.prod(small)).reshape(small)
        call.factor(grid, [parts[position] for position in labelled])
    spread = grid.reshape([size if position in labelled else 1 for position, size in enumerate(sizes)])
    return np.broadcast_to(spread, sizes).reshape(-1).copy(), whole
