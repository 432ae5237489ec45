"""Classes of modules by dotted name, so that what is known of a class needs no import of it."""

from __future__ import annotations

from torch import nn

from lzero.checks import shown
from lzero.errors import StructureError


def class_name(kind: object, *, example: str = "package.module.Class") -> str:
    """The dotted name of a class of modules, or ``kind`` itself where it is one already.

    Raises:
        StructureError: neither; the message has an ``example``.
    """
    if isinstance(kind, type) and issubclass(kind, nn.Module):
        return f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(kind, str) and "." in kind:
        return kind
    raise StructureError(f"kinds: expected classes of modules, or dotted names like {example!r}, found {shown(kind)}")


def class_names(module: nn.Module) -> list[str]:
    """Of the class of ``module`` and of its bases, its own first: a parametrized module is of a class made for it."""
    return [f"{kind.__module__}.{kind.__qualname__}" for kind in type(module).__mro__]
