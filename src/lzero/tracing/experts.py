"""Experts and what chooses among them, proposed by shape: E alike parts of a model beside a product that has E results.

Experts are the entries of a ModuleList that are alike, or the first dim of parameters of three dims. What chooses is a
matrix with a row, or a column, for each of them, in the same module or one close above. All of it is only a proposal:
several readings of one place are given in the order in which they are to be proved.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lzero._torch import CONVOLUTIONS
from lzero.plan.block import Block
from lzero.plan.follower import Follower
from lzero.plan.group import GateGroup, Member
from lzero.plan.paths import covers, join, owner
from lzero.plan.refusal import Reason
from lzero.plan.router import Router
from lzero.surgery.layer_sizes import has_rule
from lzero.surgery.numbers.spots import spots_of
from lzero.tracing.tracer import Trace

_CHOSEN = re.compile(r"(^|_)(top_?k|k)$|per_tok|per_token|num_selected|active")
_COUNT = re.compile(r"expert")
_NO_COUNT = re.compile(r"per_|top_?k|shared|group|capacity|size|dim|active|selected")
_ABOVE = 3  # modules around the experts in which what chooses is looked for
_READINGS = 6  # of one place, at most

_SEVERAL = Reason(
    "the parts of an expert stand in several lists of modules",
    "put what belongs to one expert into a module, and these into one ModuleList",
)

_TOLD = Reason(
    "the logits of all routers are among the results (output_router_logits), and a loss that balances the experts "
    "counts all of them",
    "turn it off in the configuration; training may ask for them in its calls",
)


@dataclass(frozen=True)
class Experts:
    """The experts of one place.

    Attributes:
        readings: as they may be gated; to be proved in turn.
        obstacle: what keeps such experts from being gated, where no reading can be proved and this is why.
    """

    readings: tuple[GateGroup, ...]
    obstacle: Reason | None


@dataclass(frozen=True)
class _Stack:
    """``size`` experts in the module at ``path``: its entries, or the first dim of its parameters ``tensors``."""

    path: str
    size: int
    blocks: tuple[Block, ...] = ()
    tensors: tuple[str, ...] = ()

    def holds(self, name: str) -> bool:
        """Whether the tensor called ``name`` is a part of the experts."""
        return name in self.tensors or any(covers(block.path, name) for block in self.blocks)


def experts_of(model: nn.Module, trace: Trace, wanted: Callable[[str], bool]) -> list[Experts]:
    """The experts of ``model``, a private copy, in the order in which they stand in it.

    Args:
        model: it is left as it is.
        trace: of its forward.
        wanted: says of the path of a module whether the experts in it are to have gates.
    """
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    places: dict[tuple[str, int], list[_Stack]] = {}
    for stack in _stacks(model):
        home = next((path for path in _upwards(stack) if _routers(model, shapes, path, stack)), None)
        if home is not None and wanted(stack.path):
            places.setdefault((home, stack.size), []).append(stack)
    return [_experts(model, trace, shapes, home, stacks) for (home, _), stacks in places.items()]


def _stacks(model: nn.Module) -> Iterator[_Stack]:
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList):
            entries = list(module._modules.items())
            kinds = {(type(entry), _form(entry)) for _, entry in entries if entry is not None}
            if len(entries) > 1 and len(kinds) == 1 and next(iter(kinds))[1]:
                names = [(join(path, name), entry) for name, entry in entries if entry is not None]
                blocks = [
                    Block(at, "removed", tuple(join(at, name) for name, _ in entry.named_parameters()))
                    for at, entry in names
                ]
                yield _Stack(path, len(blocks), tuple(blocks))
        elif not isinstance(module, CONVOLUTIONS):
            own = {join(path, name): p for name, p in module._parameters.items() if p is not None}
            sizes = {p.shape[0] for p in own.values() if p.dim() > 2}
            if len(sizes) == 1 and (size := sizes.pop()) > 1:
                tensors = tuple(name for name, p in own.items() if p.dim() > 1 and p.shape[0] == size)
                yield _Stack(path, size, (), tensors)


def _form(module: nn.Module) -> tuple[tuple[str, torch.Size], ...]:
    return tuple((name, parameter.shape) for name, parameter in module.named_parameters())


def _upwards(stack: _Stack) -> list[str]:
    parts = stack.path.split(".") if stack.path else []
    paths = [".".join(parts[:depth]) for depth in range(len(parts), -1, -1)]
    return paths[: _ABOVE + 1]


def _routers(model: nn.Module, shapes: dict[str, tuple[int, ...]], home: str, stack: _Stack) -> list[str]:
    """Names of the matrices in ``home`` with a row or column for each expert, those called after a choice first."""
    found = [
        name
        for name, shape in shapes.items()
        if len(shape) == 2 and covers(home, name) and not stack.holds(name)
        if stack.size in (shape[:1] if isinstance(model.get_submodule(owner(name)), nn.Linear) else shape)
    ]
    return sorted(found, key=lambda name: not re.search(r"gate|rout|switch", name.removeprefix(home)))


def _experts(
    model: nn.Module, trace: Trace, shapes: dict[str, tuple[int, ...]], home: str, stacks: list[_Stack]
) -> Experts:
    size = stacks[0].size
    blocks = _side_by_side([stack.blocks for stack in stacks if stack.blocks])
    tensors = [name for stack in stacks for name in stack.tensors]
    routers = [
        name for name in _routers(model, shapes, home, stacks[0]) if not any(stack.holds(name) for stack in stacks)
    ]
    inside = [(path, module) for path, module in model.named_modules() if covers(home, path)]
    scope = [(path, module) for path, module in inside if not any(covers(block.path, path) for block in blocks)]
    readings = list[GateGroup]()
    for name in routers:
        users = trace.users.get(name, set())
        if len(users) != 1:
            continue
        others = [other for other in routers if other != name]
        for rows in ([name, *others], [name]) if others else ([name],):
            dims = {row: shapes[row].index(size) for row in rows}
            holders = {owner(name), *(owner(row) for row in rows), home, *(stack.path for stack in stacks)}
            vectors = [v for path in sorted(holders) for v in _vectors(model, path, size)]
            members = tuple(
                Member(tensor, dim, torch.arange(size)[:, None], "coupled")
                for tensor, dim in {**dims, **dict.fromkeys(tensors, 0), **dict.fromkeys(vectors, 0)}.items()
            )
            router = Router(
                next(iter(users)), name, _chosen(scope, size), _sparse(trace, shapes, name, tensors, blocks)
            )
            apart = owner(name) not in (home, *(stack.path for stack in stacks))
            group = GateGroup(owner(name) if apart else name, size, "expert", members, blocks=blocks, router=router)
            readings += [replace(group, numbers=numbers) for numbers in _numbers(scope, size)]
    several = len([stack for stack in stacks if stack.blocks]) > 1
    return Experts(tuple(readings[:_READINGS]), _SEVERAL if several else _obstacle(model, scope, size))


def _side_by_side(lists: list[tuple[Block, ...]]) -> tuple[Block, ...]:
    """The experts of a list, where there is one list alone."""
    return lists[0] if len(lists) == 1 else ()


def _vectors(model: nn.Module, path: str, size: int) -> list[str]:
    """The vectors of the module at ``path`` itself with an entry for each expert: biases, scales."""
    module = model.get_submodule(path)
    held: list[tuple[str, Tensor | None]] = [*module._parameters.items(), *module._buffers.items()]
    return [join(path, name) for name, tensor in held if tensor is not None and tuple(tensor.shape) == (size,)]


def _chosen(scope: list[tuple[str, nn.Module]], size: int) -> tuple[tuple[str, str], ...]:
    return tuple(
        (path, spot.name)
        for path, module in scope
        for spot in spots_of(module)
        if spot.place < 0 and spot.value <= size and _CHOSEN.search(_leaf(spot.name))
    )


def _numbers(scope: list[tuple[str, nn.Module]], size: int) -> list[tuple[Follower, ...]]:
    """The numbers that count the experts: those called so, then every one of that value; none at last."""
    spots = [
        (path, spot)
        for path, module in scope
        for spot in spots_of(module)
        if spot.value == size and spot.place < 0 and not _CHOSEN.search(_leaf(spot.name))
    ]
    named = [(p, s) for p, s in spots if _COUNT.search(_leaf(s.name)) and not _NO_COUNT.search(_leaf(s.name))]
    rules = {path for path, module in scope if has_rule(module)}
    alike = [(p, s) for p, s in spots if p not in rules and "." not in s.name]
    found = [tuple(Follower(path, spot.name, -1, 1) for path, spot in chosen) for chosen in (named, alike, [])]
    return list(dict.fromkeys(found))


def _sparse(
    trace: Trace, shapes: dict[str, tuple[int, ...]], router: str, tensors: list[str], blocks: tuple[Block, ...]
) -> bool:
    """Whether experts work on fewer tokens than the router does: of stacks each, of modules on average."""
    tokens = _uses(trace, shapes, router)
    each = [_uses(trace, shapes, name) for name in tensors if name in trace.macs]
    if blocks:
        names = [name for block in blocks for name in block.tensors if len(shapes.get(name, ())) > 1]
        each.append(sum(_uses(trace, shapes, name) for name in names) / max(len(names), 1))
    return bool(each) and max(each) < tokens


def _uses(trace: Trace, shapes: dict[str, tuple[int, ...]], name: str) -> float:
    return trace.macs.get(name, 0) / max(math.prod(shapes[name]), 1)


def _obstacle(model: nn.Module, scope: list[tuple[str, nn.Module]], size: int) -> Reason | None:
    """What is known by its name to see closed experts all the same."""
    if getattr(vars(model).get("config"), "output_router_logits", False):
        return _TOLD
    for path, module in scope:
        for name, value in vars(module).items():
            if type(value) is int and value > 1 and re.search(r"^(n|num)_(expert_)?groups?$", name):
                return Reason(
                    f"{path} chooses among {value} groups of equally many experts ({name}): single ones cannot leave",
                    f"build the model with {name} = 1",
                )
        for name, tensor in (*module._buffers.items(), *module._parameters.items()):
            if tensor is not None and tensor.numel() == size and re.search(r"correction|score_bias|expert_bias", name):
                return Reason(
                    f"{join(path, name)} is added to the scores by which experts are chosen, after what makes a closed "
                    "one weigh nothing: it would still be chosen, in the place of an open one",
                )
    return None


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]
