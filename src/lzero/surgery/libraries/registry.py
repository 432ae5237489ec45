"""The table of libraries, by the dotted name of the class that all their models have as a base."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, TypeVar

from torch import nn

from lzero.surgery.class_names import class_name, class_names


class Library:
    """What a library does beside the modules of a model; in the base class nothing."""

    def saving(self, model: nn.Module, state: MutableMapping[str, Any], prefix: str) -> None:
        """Change a state dict of the gated ``model``, whose entries begin with ``prefix``, before it is handed out."""

    def loading(self, model: nn.Module, state: MutableMapping[str, Any], prefix: str) -> None:
        """Change a state dict that the gated ``model`` is going to load, before anything looks at it."""

    def purged(self, small: nn.Module, model: nn.Module) -> None:
        """Note on ``small``, a new module, what its library must know of it; ``model`` is the gated one."""


_L = TypeVar("_L", bound=type[Library])

LIBRARIES: dict[str, Library] = {}
_NONE = Library()


def library(*kinds: type[nn.Module] | str) -> Callable[[_L], _L]:
    """A decorator that registers a :class:`Library` for models of ``kinds``, of which one is made.

    Args:
        kinds: base classes of its models, or dotted names of them, so that none need be imported.

    Raises:
        StructureError: neither a class of modules nor a dotted name.
    """

    def register(found: _L) -> _L:
        for kind in kinds:
            LIBRARIES[class_name(kind)] = found()
        return found

    return register


def library_of(model: nn.Module) -> Library:
    """The library that ``model`` itself is of, or one that does nothing."""
    return next((LIBRARIES[name] for name in class_names(model) if name in LIBRARIES), _NONE)
