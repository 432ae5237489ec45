"""Numbers and lists that have one for every block of a container: what the blocks that leave make of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn

from lzero.surgery.numbers.spots import holder_of, items_at, keep_items, lists_of, spots_of, write_numbers

_COUNT = re.compile(
    r"^((n|num|number)_(of_)?)?((hidden|encoder|decoder|transformer)_)*(layers?|blocks?|depth)$|^depths?$"
)
_LIST = re.compile(r"layer|block")


_PLACES = ("layer_idx", "layer_id", "layer_index", "layer_number", "block_idx", "block_index")


class Places:
    """The places that modules know they have among their like: counted anew when some of these have left.

    A cache keeps keys and values by them, from the first on. So modules at the same path in the entries of a container
    are counted on their own, without those that are closed; but where a configuration has different kinds of entries,
    and the cache is made after it, they go by the place of their entry.

    Args:
        model: before anything leaves it.
        leaving: paths of what will.
    """

    def __init__(self, model: nn.Module, leaving: Sequence[str]) -> None:
        self._known: list[tuple[nn.Module, bool, dict[tuple[str, str], int]]] = []
        for path in dict.fromkeys(_container_of(model, path) for path in leaving):
            if path is not None:
                container = model.get_submodule(path)
                kinds = _has_kinds(model, path, len(container._modules))
                self._known.append((container, kinds, _numbered(container)))

    def follow(self) -> None:
        """Number what is left, in place."""
        for container, kinds, known in self._known:
            for (below, name), first in known.items():
                count = first
                for place, entry in enumerate(container.children()):
                    attributes = vars(_at(entry, below))
                    if type(attributes.get(name)) is int:
                        attributes[name] = first + place if kinds else count
                        count += 1


def _container_of(model: nn.Module, path: str) -> str | None:
    """The outermost Sequential or ModuleList that ``path`` lies in."""
    parts = path.split(".")
    for depth in range(len(parts)):
        above = ".".join(parts[:depth])
        module = _at(model, above)
        if isinstance(module, nn.ModuleList | nn.Sequential):
            return above
    return None


def _numbered(container: nn.Module) -> dict[tuple[str, str], int]:
    """By path in an entry, and name, the first of the numbers that count the entries one by one."""
    found: dict[tuple[str, str], set[int]] = {}
    for place, entry in enumerate(container.children()):
        for below, module in entry.named_modules():
            for name in _PLACES:
                value = vars(module).get(name)
                if type(value) is int:
                    found.setdefault((below, name), set()).add(value - place)
    return {key: min(first) for key, first in found.items() if first in ({0}, {1})}


def _has_kinds(model: nn.Module, path: str, length: int) -> bool:
    """Whether a list that has an item for each of the entries tells several kinds of them."""
    for module in _above(model, path):
        for name in lists_of(module, length):
            if _LIST.search(_leaf(name)) and len(set(map(str, items_at(module, name)))) > 1:
                return True
    return False


def _above(model: nn.Module, path: str) -> list[nn.Module]:
    parts = path.split(".") if path else []
    return [model.get_submodule(".".join(parts[:depth])) for depth in range(len(parts))]


def _at(module: nn.Module, path: str) -> nn.Module:
    for leaf in path.split(".") if path else []:
        found = module._modules.get(leaf)
        if found is None:
            return nn.Module()
        module = found
    return module


def follow_entries(model: nn.Module, path: str, length: int, kept: Sequence[int]) -> None:
    """Bring the modules around the container at ``path``, which had ``length`` entries, to those that are ``kept``.

    A number called like a count of layers that is the length becomes the new one; a list called after layers or blocks
    with an item for each entry keeps those of the entries that stay. Where decoders have names of their own, these
    follow decoders alone. Where a list counts the blocks of every stage, the item of the stage follows, and nothing
    else. Of several kinds of configurations, one for images and one for texts, it is the one that the modules nearest
    to the container have. Configurations are changed in copies.
    """
    parts = path.split(".") if path else []
    stage = next((int(part) for part in reversed(parts[:-1]) if part.isdecimal()), -1)
    near = set[type]()
    for module in reversed(_above(model, path)):
        staged = [s.name for s in spots_of(module) if (s.place, s.value) == (stage, length) and _is_count(s.name)]
        if stage >= 0 and staged:
            for name in staged:
                write_numbers(module, name, {stage: len(kept)})
            continue
        counts = [s.name for s in spots_of(module) if s.place < 0 and s.value == length and _is_count(s.name)]
        lists = [name for name in lists_of(module, length) if _LIST.search(_leaf(name))]
        holders = {name: type(holder_of(module, name)) for name in (*counts, *lists) if "." in name}
        near = near or set(holders.values())
        other = {name for name, kind in holders.items() if kind not in near}
        for name in _of_its_own([name for name in counts if name not in other], parts):
            write_numbers(module, name, {-1: len(kept)})
        for name in _of_its_own([name for name in lists if name not in other], parts):
            keep_items(module, name, kept)


def _of_its_own(names: Sequence[str], parts: Sequence[str]) -> list[str]:
    """Those of ``names`` that speak of the stack at the path of ``parts``, an encoder's or a decoder's."""
    decoding = [name for name in names if "decoder" in _leaf(name)]
    if any("decoder" in part for part in parts) and decoding:
        return decoding
    return [name for name in names if name not in decoding]


def _is_count(name: str) -> bool:
    return _COUNT.search(_leaf(name)) is not None


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]
