"""What the user asked for: how finely each module is gated, and what is left alone."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from lzero.checks import shown
from lzero.errors import StructureError
from lzero.plan.granularity import expected, granularities, spelled, words_of
from lzero.plan.group import GateGroup, Member
from lzero.plan.paths import covers, owner
from lzero.plan.refusal import Reason, Refusal
from lzero.surgery.adapters import adapter_paths, adapter_that_owns
from lzero.tracing.tracer import Trace


@dataclass(frozen=True)
class Request:
    """A checked granularity and ignore list.

    Attributes:
        granularity: module path prefix -> words of :mod:`lzero.plan.granularity`; the longest prefix decides, and what
            no prefix covers is gated by unit.
        ignore: module paths and tensor names.
        adapters: path of every adapter -> path of the layer inside.
    """

    granularity: Mapping[str, str]
    ignore: tuple[str, ...]
    adapters: Mapping[str, str] = field(default_factory=dict)

    def of(self, tensor: str, word: str) -> bool:
        """Whether ``word`` is asked for where a tensor is, by the module that holds it."""
        return self.at(owner(tensor), word)

    def at(self, path: str, word: str) -> bool:
        """Whether ``word`` is asked for at the module at ``path``."""
        covering = [prefix for prefix in self.granularity if covers(prefix, path)]
        return word in words_of(self.granularity[max(covering, key=len)] if covering else "unit")

    def wide(self, path: str) -> bool:
        """Whether the units that the norm at ``path`` takes statistics of are to be gated."""
        return self.at(path, "width")

    def deep(self, path: str) -> bool:
        """Whether the block or branch at ``path`` is to have a gate as a whole."""
        return self.at(path, "depth") and not self._touches(path)

    def expert(self, path: str) -> bool:
        """Whether the experts in the module at ``path`` are to have a gate each."""
        return self.at(path, "experts") and not self._touches(path)

    def any(self, word: str) -> bool:
        """Whether ``word`` is asked for anywhere."""
        return any(word in words_of(granularity) for granularity in self.granularity.values())

    def _touches(self, path: str) -> bool:
        return any(covers(ignored, path) or covers(path, ignored) for ignored in self.ignore)

    def ignores(self, tensor: str) -> bool:
        """Whether the tensor is to be left alone."""
        return any(covers(path, tensor) for path in self.ignore)

    def adapted(self, tensor: str) -> bool:
        """Whether the tensor lies in an adapter that no path of the granularity leads to.

        Features are one thing for all that reads them there: a merge needs them alike.
        """
        return any(covers(path, tensor) and not self._names(path) for path in self.adapters)

    def _names(self, path: str) -> bool:
        return any(covers(path, wish) for wish in self.granularity)

    def veto(self, members: Sequence[Member]) -> Reason | None:
        """Why units on ``members`` may not be gated by what was asked, None where they may."""
        for member in members:
            if self.ignores(member.tensor):
                return Reason("ignored as asked")
            if member.role != "coupled" and self.of(member.tensor, "weight"):
                return Reason(f"{member.tensor} is gated weight by weight, as asked", 'ask for "unit" there')
        return self._inner(members)

    def _inner(self, members: Sequence[Member]) -> Reason | None:
        """Why units on ``members`` are none of the model's: they live in an adapter alone, as the rank of LoRA does."""
        around = [adapter_that_owns(self.adapters, member.tensor) for member in members]
        if not around or any(path is None or self._names(path) for path in around):
            return None
        return Reason(
            "it is an inner size of an adapter, such as the rank of LoRA, and no unit of the model",
            f'granularity={{"{around[0]}": "unit"}} gates it',
        )


def request(model: nn.Module, granularity: str | Mapping[str, str], ignore: str | Iterable[str]) -> Request:
    """The user's wishes, checked against ``model``.

    Raises:
        StructureError: something else than a granularity or a mapping to them, or than paths and names; an unknown
            granularity, module path or tensor name, with near matches.
    """
    wanted = _mapping(granularity)
    paths = {path for path, _ in model.named_modules()}
    for path, value in wanted.items():
        place = f"granularity of {path!r}" if path else "granularity"
        if not isinstance(value, str) or value not in granularities():
            raise StructureError(f"{place}: expected {expected()}, found {shown(value)}")
        if path not in paths:
            raise _unknown("granularity", path, paths)
    tensors = {name for name, _ in (*model.named_parameters(remove_duplicate=False), *model.named_buffers())}
    return Request(wanted, _ignored(ignore, paths | tensors), adapter_paths(model))


def check_inputs(example_inputs: object) -> None:
    """Raise where nothing was passed that a forward could run on.

    Raises:
        StructureError: None, a word, a class, a module, or an empty container.
    """
    nothing = isinstance(example_inputs, tuple | list | set | frozenset | Mapping) and not len(example_inputs)
    if example_inputs is None or nothing or isinstance(example_inputs, str | bytes | type | nn.Module):
        raise StructureError(
            "example_inputs: expected what the training loop passes to the model (a tensor, a tuple of arguments, or a "
            f"dict of keyword arguments), found {shown(example_inputs)}"
        )


def _mapping(granularity: object) -> dict[str, str]:
    if isinstance(granularity, str):
        return {"": spelled(granularity)}
    try:
        wanted = dict(granularity) if isinstance(granularity, Mapping) else None
    except Exception:  # a mapping of somebody's own that is none
        wanted = None
    if wanted is None or not all(isinstance(path, str) for path in wanted):
        raise StructureError(
            f"granularity: expected {expected()}, or a mapping from module paths to them, found {shown(granularity)}"
        )
    return {path: spelled(value) if isinstance(value, str) else value for path, value in wanted.items()}


def _ignored(ignore: object, known: Collection[str]) -> tuple[str, ...]:
    names = list[str]()
    listed = isinstance(ignore, Iterable) and not isinstance(ignore, Tensor | bytes | nn.Module)
    try:
        for name in (ignore,) if isinstance(ignore, str) or not listed else ignore:  # type: ignore[attr-defined]
            if not isinstance(name, str):
                raise TypeError
            names.append(name)
            if name not in known:
                break
    except Exception as error:
        raise StructureError(f"ignore: expected module paths and parameter names, found {shown(ignore)}") from error
    if names and names[-1] not in known:
        raise _unknown("ignore", names[-1], known)
    return tuple(names)


def _unknown(argument: str, path: str, known: Iterable[str]) -> StructureError:
    near = difflib.get_close_matches(str(path), [name for name in known if name], n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "see model.named_modules() for the paths"
    return StructureError(f"{argument}: the model has no {path!r}; {hint}")


def input_groups(model: nn.Module, trace: Trace, asked: Request, units: Sequence[GateGroup]) -> list[GateGroup]:
    """One group for each Linear whose features are to be gated: those that are not one unit each already."""
    groups = []
    for path, module in _selectable(model, trace, asked):
        weight = _weight(path)
        if not asked.of(weight, "input") or asked.ignores(weight):
            continue
        free = torch.ones(module.weight.shape[1], dtype=torch.bool)
        for member in (member for group in units for member in group.members):
            if member.tensor == weight and member.dim == 1 and member.width == 1:
                free[member.index] = False
        columns = free.nonzero()  # [k, 1]
        if len(columns) > 1:
            groups.append(GateGroup(_features(path), len(columns), "input", (Member(weight, 1, columns, "consumer"),)))
    return groups


def advise_inputs(
    refusals: Sequence[Refusal], model: nn.Module, trace: Trace, asked: Request, groups: Sequence[GateGroup]
) -> list[Refusal]:
    """``refusals`` without the features that an input group gates, and with a word on those that one could gate."""
    gated = {group.name for group in groups if group.kind == "input"}
    possible = {_features(path) for path, _ in _selectable(model, trace, asked)}
    return [
        replace(refused, advice='granularity="input" gates the features that it reads')
        if refused.name in possible and not refused.advice
        else refused
        for refused in refusals
        if refused.name not in gated
    ]


def _selectable(model: nn.Module, trace: Trace, asked: Request) -> Iterator[tuple[str, nn.Linear]]:
    """The Linears, by path, that purging can put a selection in front of: nothing else uses their weights."""
    names = {name for name, _ in model.named_parameters()}
    for path, module in model.named_modules():
        weight = _weight(path)
        alone = type(module) is nn.Linear and trace.users.get(weight) == {path} and _aliases(model, module.weight) == 1
        if alone and weight in names and not asked.adapted(weight):
            yield path, module


def _weight(path: str) -> str:
    return f"{path}.weight" if path else "weight"


def _features(path: str) -> str:
    """The name of the features that the module at ``path`` reads."""
    return f"{path}.input" if path else "input"


def _aliases(model: nn.Module, parameter: Tensor) -> int:
    return sum(other is parameter for _, other in model.named_parameters(remove_duplicate=False))


def weight_groups(model: nn.Module, trace: Trace, asked: Request) -> list[GateGroup]:
    """One group for each weight that a product reads, where every weight is to have its own gate."""
    groups = []
    for name, parameter in model.named_parameters():
        if name in trace.macs and parameter.dim() > 1 and asked.of(name, "weight") and not asked.ignores(name):
            index = torch.arange(parameter.numel()).view(-1, 1)
            group = GateGroup(owner(name) or name, parameter.numel(), "weight", (Member(name, -1, index, "consumer"),))
            groups.append(group)
    return groups
