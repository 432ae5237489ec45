"""Classes of modules whose forward needs all of its heads, and those that take their place once some have left."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn

from lzero.surgery.class_names import class_name, class_names

_M = TypeVar("_M", bound=type[nn.Module])

REPLACEMENTS: dict[str, type[nn.Module]] = {}


def replaces(*kinds: type[nn.Module] | str) -> Callable[[_M], _M]:
    """A decorator that registers the class that modules of ``kinds`` become once heads have left them.

    It has the same children, parameters and attributes, and a forward that reads every size off its tensors. What the
    forward of ``kinds`` asks of sizes forbids nothing then; that the new one gives the same is proved with every group.

    Args:
        kinds: classes, or dotted names of classes that need not be imported; none of their subclasses.

    Raises:
        StructureError: neither a class of modules nor a dotted name.
    """

    def register(found: _M) -> _M:
        REPLACEMENTS.update((class_name(kind), found) for kind in kinds)
        return found

    return register


def is_replaced(module: nn.Module) -> bool:
    """Whether ``module`` becomes another once heads have left it."""
    return class_names(module)[0] in REPLACEMENTS


def replace_class(module: nn.Module) -> None:
    """``module`` as what is registered for its class, in place; left as it is where nothing is."""
    module.__class__ = REPLACEMENTS.get(class_names(module)[0], type(module))
