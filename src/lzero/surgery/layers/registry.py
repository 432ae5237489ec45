"""The table of rules for classes of layers, by the module and the name of the class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from torch import nn

from lzero.surgery.class_names import class_name, class_names
from lzero.surgery.layers.saved import Extent, Saved

Kind = type[nn.Module] | str
"""A class, or its dotted name (``"transformers.pytorch_utils.Conv1D"``) where importing it is not wanted."""

Sizes = Callable[[Any], None]
Agreement = Callable[[Any, Saved], Iterator[Iterator[Extent]]]
_S = TypeVar("_S", bound=Sizes)
_A = TypeVar("_A", bound=Agreement)

SIZES: dict[str, Sizes] = {}
EXTENTS: dict[str, Agreement] = {}
ONE_DTYPE: set[str] = set()


def cached_sizes(*kinds: Kind) -> Callable[[_S], _S]:
    """A decorator that registers how layers of ``kinds`` keep sizes of their tensors beside these.

    The function is called with a layer whose tensors have been cut or loaded, and sets what the layer caches to them.
    Subclasses have the rules of all their bases, those of the base first. A rule that is wrong costs gates, never
    truth: the proof of every group runs it too.

    Args:
        kinds: classes, or dotted names of classes that need not be imported.

    Example:
        >>> import torch, lzero
        >>> class Grid(nn.Module):  # keeps a size in a dict, where nobody looks for it
        ...     def __init__(self, width):
        ...         super().__init__()
        ...         self.form, self.scale = {"width": width}, nn.Parameter(torch.rand(width))
        ...     def forward(self, x):
        ...         return x.view(-1, self.form["width"]) * self.scale
        >>> @cached_sizes(Grid)
        ... def grid_sizes(layer):
        ...     layer.form = {"width": len(layer.scale)}
        >>> @saved_extents(Grid)
        ... def grid_extents(layer, saved):
        ...     yield saved.extents(scale=0)
        >>> build = lambda: nn.Sequential(nn.Linear(4, 6), Grid(6), nn.ReLU(), nn.Linear(6, 2))
        >>> model = build()
        >>> gates = lzero.attach_gates(model, torch.rand(3, 4))
        >>> [(group.name, group.size) for group in gates.plan.groups]
        [('0', 6)]
        >>> with torch.no_grad():
        ...     _ = gates.log_alpha.copy_(torch.tensor([9.0, -9.0, 9.0, -9.0, 9.0, -9.0]))
        >>> small = lzero.purge(model).model
        >>> lzero.load_purged(build(), small.state_dict())[1].form
        {'width': 3}

    Raises:
        StructureError: neither a class of modules nor a dotted name.
    """

    def register(function: _S) -> _S:
        for kind in kinds:
            SIZES[class_name(kind)] = function
        return function

    return register


def saved_extents(*kinds: Kind, one_dtype: bool = False) -> Callable[[_A], _A]:
    """A decorator that registers which widths of a saved layer have to agree before it is loaded.

    The function is called with a layer as it is and its :class:`Saved` tensors, and yields iterators of extents, which
    are equal within each. Subclasses have the rules of all their bases.

    Args:
        kinds: classes, or dotted names of classes that need not be imported.
        one_dtype: the forward needs the float parameters in one dtype.

    Raises:
        StructureError: neither a class of modules nor a dotted name.
    """

    def register(function: _A) -> _A:
        for kind in kinds:
            EXTENTS[class_name(kind)] = function
            if one_dtype:
                ONE_DTYPE.add(class_name(kind))
        return function

    return register


def size_rules(module: nn.Module) -> list[Sizes]:
    """The rules for the sizes that ``module`` caches, those of base classes first."""
    return [SIZES[name] for name in reversed(class_names(module)) if name in SIZES]


def extent_rules(module: nn.Module) -> list[Agreement]:
    """The rules for the widths that agree in ``module``, those of base classes first."""
    return [EXTENTS[name] for name in reversed(class_names(module)) if name in EXTENTS]


def has_one_dtype(module: nn.Module) -> bool:
    """Whether the forward of ``module`` needs its float parameters in one dtype."""
    return not ONE_DTYPE.isdisjoint(class_names(module))
