"""Reshaping: blocks of dims that are merged, split, or both."""

from __future__ import annotations

import math

import numpy as np

from lzero.structure.call import Call
from lzero.structure.labels import Axes, IntArray, fixed
from lzero.structure.rules.registry import rule


@rule("aten.view", "aten.reshape", "aten._unsafe_view", "aten._reshape_alias")
def reshape(call: Call) -> None:
    """Elements keep their order: each block of old dims becomes a block of new dims with as many elements."""
    axes, shape = call.axes("self"), tuple(call.outputs[0].shape)
    old = tuple(labels.size for labels in axes)
    if "dtype" in call.arguments or math.prod(old) != math.prod(shape):
        raise NotImplementedError("a view of other elements than those of the tensor")
    new = list(fixed(shape))
    pure = True
    for old_dims, new_dims in _blocks(old, shape):
        block = tuple(axes[dim] for dim in old_dims)
        if any(labels.any() for labels in block):
            axes_there, untied = _split(call, _merge(call, block), tuple(shape[dim] for dim in new_dims))
            pure &= untied
            for dim, labels in zip(new_dims, axes_there, strict=True):
                new[dim] = labels
    call.give(new, view_of="self" if pure else None)


def _blocks(old: tuple[int, ...], new: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """The smallest runs of old and new dims that hold the same number of elements, in order.

    >>> _blocks((2, 50, 4, 4), (2, 800))
    [([0], [0]), ([1, 2, 3], [1])]
    """
    blocks: list[tuple[list[int], list[int]]] = []
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
        blocks.append((olds, news))
    return blocks


def _merge(call: Call, block: Axes) -> IntArray:
    """Labels of a block's dims flattened to one: those of the dim with most units, the other dims freeze."""
    units = [np.unique(labels[labels != 0]).size for labels in block]
    main = units.index(max(units))
    for dim, labels in enumerate(block):
        if dim != main:
            call.freeze(labels, "it is flattened together with a dim that has more units")
    sizes = [labels.size for labels in block]
    before, after = math.prod(sizes[:main]), math.prod(sizes[main + 1 :])
    return np.tile(np.repeat(block[main], after), before)


def _split(call: Call, flat: IntArray, shape: tuple[int, ...]) -> tuple[list[IntArray], bool]:
    """Labels of ``flat`` cut into dims of ``shape``, and whether it took no new ties.

    Where they vary along one new dim only, that dim carries them. Otherwise the outermost dim does, and all that lies
    under one of its indices becomes one unit (the features of an attention head).
    """
    grid, axes = flat.reshape(shape), list(fixed(shape))
    varying = [dim for dim in range(len(shape)) if (grid != grid.take([0], axis=dim)).any()]
    if len(varying) == 1:
        dim = varying[0]
        axes[dim] = np.moveaxis(grid, dim, 0).reshape(shape[dim], -1)[:, 0].copy()
        return axes, True
    if not varying:
        call.freeze(flat, "one unit is spread over many")
        return axes, True
    outer = next(dim for dim, size in enumerate(shape) if size > 1)
    axes[outer] = call.tie(flat.reshape(shape[outer], -1), "the forward splits the units by a literal size")
    return axes, False
