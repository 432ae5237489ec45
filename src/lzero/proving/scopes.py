"""The smallest part of a model that a group of gates can be proved on: a module, or a stretch of a Sequential."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from torch import nn

from lzero.host.inputs import ExampleInputs
from lzero.plan.group import GateGroup, Member
from lzero.plan.paths import covers, join, owner
from lzero.tracing.tracer import Trace


@dataclass(frozen=True)
class Scope:
    """The module at ``path``; of a Sequential there only the children ``first`` to ``last``, where they are given."""

    path: str
    first: int = 0
    last: int = -1

    def holds(self, other: Scope) -> bool:
        """Whether ``other`` is a part of it."""
        if self.last < 0:
            return covers(self.path, other.path)
        return self.path == other.path and self.first <= other.first and 0 <= other.last <= self.last

    def cut_out(self, model: nn.Module) -> nn.Module:
        """That part of ``model``, its modules themselves; tensors go by the names of :meth:`rename`."""
        module = model.get_submodule(self.path)
        if self.last < 0:
            return module
        children = list(module.named_children())[self.first : self.last + 1]
        return nn.Sequential(OrderedDict(children))

    def rename(self, group: GateGroup) -> GateGroup:
        """``group`` by the names that its tensors have in the part."""
        start = len(self.path) + 1 if self.path else 0
        members = tuple(Member(m.tensor[start:], m.dim, m.index, m.role) for m in group.members)
        numbers = tuple(replace(number, path=number.path[start:]) for number in group.numbers)
        norms = tuple(norm.at(norm.path[start:]) for norm in group.norms)
        blocks = tuple(block.below(self.path) for block in group.blocks)
        router = None if group.router is None else group.router.below(self.path)
        return GateGroup(group.name, group.size, group.kind, members, numbers, norms, blocks, router)


def scopes_of(model: nn.Module, trace: Trace, groups: Iterable[GateGroup]) -> dict[Scope, list[GateGroup]]:
    """Groups by the part of ``model`` that they are proved on: the smallest that holds all that makes and reads them.

    What lies in another such module, or stretch of the same Sequential, is proved with it; groups that only the whole
    model holds are left out.
    """
    found: dict[Scope, list[GateGroup]] = {}
    for group in groups:
        scope = _scope(model, trace, group)
        if scope is not None:
            found.setdefault(scope, []).append(group)
    made: dict[Scope, list[GateGroup]] = {}
    for scope in sorted(found, key=lambda scope: (scope.path.count("."), len(scope.path), scope.first - scope.last)):
        home = next((other for other in made if other.holds(scope)), scope)
        made.setdefault(home, []).extend(found[scope])
    return made


def inputs_of(scope: Scope, model: nn.Module, trace: Trace) -> ExampleInputs:
    """What the part was called with in the traced forward."""
    return trace.calls[_entry(model, scope.path, scope.first) if scope.last >= 0 else scope.path]


def _scope(model: nn.Module, trace: Trace, group: GateGroup) -> Scope | None:
    paths = {owner(member.tensor) for member in group.members}
    paths |= {number.path for number in group.numbers}
    paths |= {norm.path for norm in group.norms}
    paths |= {block.path for block in group.blocks}
    if group.router is not None:
        paths |= {group.router.path, *(path for path, _ in group.router.chosen)}
    paths |= {user for block in group.blocks for tensor in block.tensors for user in trace.users.get(tensor, ())}
    paths |= {user for member in group.members for user in trace.users.get(member.tensor, ())}
    path = _common(paths)
    while path:
        scope = _stretch(model, trace, path, paths) or (Scope(path) if path in trace.calls else None)
        if scope is not None:
            return scope
        path = path.rpartition(".")[0]
    return _stretch(model, trace, "", paths)


def _common(paths: Iterable[str]) -> str:
    """The longest path that all of ``paths`` are at or below."""
    first, *more = (path.split(".") for path in paths)
    for other in more:
        equal = [a == b for a, b in zip(first, other, strict=False)]
        first = first[: equal.index(False) if False in equal else len(equal)]
    return ".".join(first)


def _stretch(model: nn.Module, trace: Trace, path: str, paths: Iterable[str]) -> Scope | None:
    """The stretch of the Sequential at ``path`` that holds all ``paths``; None where it is none, or all of it."""
    module = model.get_submodule(path)
    if type(module).forward is not nn.Sequential.forward:
        return None
    names = [join(path, name) for name, _ in module.named_children()]
    if len(names) != len(module._modules):  # a child that stands in it twice
        return None
    places = [next((i for i, name in enumerate(names) if covers(name, below)), -1) for below in paths]
    first, last = min(places), max(places)
    if first < 0 or names[first] not in trace.calls or (first, last) == (0, len(names) - 1):
        return None
    return Scope(path, first, last)


def _entry(model: nn.Module, path: str, first: int) -> str:
    return join(path, list(model.get_submodule(path)._modules)[first])
