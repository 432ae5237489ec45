"""The table of families: what the whole numbers that a class of modules keeps stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from fnmatch import fnmatchcase

from torch import nn

from lzero.surgery.class_names import class_name, class_names


class Role(Enum):
    """What a number counts, and so whether it may follow the units."""

    HEADS = "heads"
    """Attention heads: it loses those whose units leave."""
    HEAD_SIZE = "head size"
    """The width of one head: it stays, and tells units of whole heads from others."""
    SIZE = "size"
    """A width: it follows the dims that have it, unless another dim near it has the same width and stays."""
    INNER = "inner size"
    """A width between the module's own layers: it follows, whatever else is as wide."""
    STAYS = "stays"
    """Anything else."""


Family = Callable[[str], Role | None]

FAMILIES: list[tuple[str, Family]] = []


def number_family(*kinds: type[nn.Module] | str) -> Callable[[Family], Family]:
    """A decorator that registers what the numbers of modules of ``kinds`` stand for.

    The function gives the :class:`Role` of a number by its name, or None for a name that it does not know: then the
    families of base classes are asked, and last the one for all modules, which goes by the name alone. Of two
    families of one class, the one that was registered later is asked first. A wrong role costs gates, never truth:
    the proof of every group changes the numbers too.

    Args:
        kinds: classes, or dotted names of classes that need not be imported, in which ``*`` stands for anything.

    Example:
        >>> import torch, lzero
        >>> class Grouped(nn.Module):  # its number is called like none that counts heads
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.fans, self.read, self.out = 4, nn.Linear(5, 12), nn.Linear(12, 2)
        ...     def forward(self, x):
        ...         each = self.read(x).view(len(x), self.fans, 3)
        ...         return self.out(each.softmax(-1).flatten(1))
        >>> @number_family(Grouped)
        ... def grouped(name):
        ...     return Role.HEADS if name == "fans" else None
        >>> model = Grouped()
        >>> gates = lzero.attach_gates(model, torch.rand(3, 5))
        >>> [(group.name, group.size) for group in gates.plan.groups]
        [('read', 4)]
        >>> with torch.no_grad():
        ...     _ = gates.log_alpha.copy_(torch.tensor([9.0, -9.0, 9.0, 9.0]))
        >>> lzero.purge(model).model.fans
        3

    Raises:
        StructureError: neither a class of modules nor a dotted name.
    """

    def register(function: Family) -> Family:
        FAMILIES.extend((class_name(kind, example="package.module.*Attention"), function) for kind in kinds)
        return function

    return register


def roles_of(module: nn.Module, names: Iterable[str]) -> list[Role]:
    """What each of the numbers ``names`` of ``module`` stands for."""
    families = list(_families(module))
    return [next((role for family in families if (role := family(name)) is not None), Role.STAYS) for name in names]


def _families(module: nn.Module) -> Iterator[Family]:
    """Those of the class first, then those of its bases; a parametrized module is of a class made for it."""
    for name in class_names(module):
        for pattern, family in reversed(FAMILIES):
            if fnmatchcase(name, pattern):
                yield family
