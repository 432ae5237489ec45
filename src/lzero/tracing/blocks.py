"""Blocks and branches of a network that a gate may switch as a whole: found in one forward, to be proved later.

A *block* is an entry of a Sequential or ModuleList that adds to the tensor that it is called with (an op adds to that
very memory, or to such a sum) and gives back one of the same shape. A *branch* is a module in a block whose result is
what is added. Both need parameters of their own, and are called once in a forward.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn

from lzero._torch import EagerDispatchMode
from lzero.host.first_tensor import first_tensor
from lzero.host.inputs import ExampleInputs
from lzero.host.quiet import isolated_random_state, unfused
from lzero.host.stand_ins import exact_ops
from lzero.plan.block import Block
from lzero.plan.paths import covers, join
from lzero.tracing.tensor_table import storage_pointer

_SUMS = (torch.ops.aten.add, torch.ops.aten.add_, torch.ops.aten.sub, torch.ops.aten.sub_)


@dataclass
class _Call:
    """One call of a module, as far as it has gone.

    Attributes:
        path: of the module.
        given: the first tensor that it was called with.
        sums: the memory of that, and of the sums on it so far.
        before: the version of ``given`` when the call began.
        branches: paths of the modules whose results were added.
    """

    path: str
    given: Tensor
    before: int
    sums: set[int] = field(default_factory=set)
    branches: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Found:
    """A block, with the branches in it.

    Attributes:
        block: as it can be closed.
        kind: name of its class, by which single blocks are alike.
        branches: in it, in the order in which they are added; none where there is one alone, which is the block.
    """

    block: Block
    kind: str
    branches: tuple[Block, ...]


def blocks_of(model: nn.Module, example_inputs: object, wanted: Callable[[str], bool]) -> list[Found]:
    """The blocks of ``model``, a private copy in eval mode, in the order in which they stand in it.

    Args:
        model: it is left as it is.
        example_inputs: of one forward, on which it runs.
        wanted: says of the path of a module whether it may be closed as a whole.
    """
    watch = _Watch(model)
    try:
        with unfused(), exact_ops(model), torch.no_grad(), isolated_random_state(model), watch:
            ExampleInputs.of(example_inputs).call(model)
    finally:
        watch.remove()
    own = _own_parameters(model)
    entries = [
        (path, join(path, name), entry)
        for path, container in model.named_modules()
        if isinstance(container, nn.ModuleList) or type(container).forward is nn.Sequential.forward
        for name, entry in container._modules.items()
        if entry is not None and watch.adds(place := join(path, name)) and wanted(place) and own(place)
    ]
    siblings = Counter(path for path, _, _ in entries)
    around = [path for path, place, _ in entries for _, other, _ in entries if place != other and covers(place, other)]
    found: dict[str, tuple[str, list[Block]]] = {}  # path of a block -> its class and branches
    for path, place, entry in entries:
        if siblings[path] == 1 and path in around:  # a stage alone, of blocks
            continue
        outer = next((other for other in found if covers(other, place)), None)
        if outer is not None:  # a forward may call it by its place
            found[outer][1].append(Block(place, "identity", own(place), watch.returns[place]))
            continue
        found[place] = (type(entry).__name__, [])
        for branch in dict.fromkeys(watch.calls[place].branches):
            if wanted(branch) and own(branch):
                found[place][1].append(Block(branch, "zero", own(branch), watch.returns[branch]))
    return [
        Found(Block(path, "removed", own(path), watch.returns[path]), kind, _apart(branches))
        for path, (kind, branches) in found.items()
    ]


def _apart(branches: list[Block]) -> tuple[Block, ...]:
    """The outermost of ``branches``, where there are several."""
    outer = [b for b in branches if not any(covers(other.path, b.path) and other is not b for other in branches)]
    return tuple(outer) if len(outer) > 1 else ()


def _own_parameters(model: nn.Module) -> Callable[[str], tuple[str, ...]]:
    """What gives, by the path of a module, the first names of the parameters that are registered in it alone."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)

    def own(path: str) -> tuple[str, ...]:
        return tuple(all_[0] for all_ in names.values() if all(covers(path, name) for name in all_))

    return own


class _Watch(EagerDispatchMode):
    """A dispatch mode, with hooks, that follows what is added to what modules are called with."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.calls: dict[str, _Call] = {}
        self.returns: dict[str, int] = {}
        self._model, self._good, self._stack = model, dict[str, bool](), list[_Call | None]()
        self._made: dict[int, list[str]] = {}  # memory -> the modules that returned it, the innermost first
        self._held: list[Tensor] = []  # so that no memory is used twice
        self._hooks = []
        for path, module in model.named_modules():
            if path:
                self._hooks.append(module.register_forward_pre_hook(self._entering(path), with_kwargs=True))
                self._hooks.append(module.register_forward_hook(self._leaving(path)))

    def remove(self) -> None:
        """Take the hooks off, and let go of the tensors."""
        for hook in self._hooks:
            hook.remove()
        self._held.clear()

    def adds(self, path: str) -> bool:
        """Whether the module at ``path`` adds to what it is called with, once, and gives a tensor like it."""
        return self._good.get(path, False)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The op's own result; sums on what a running module was called with are written down."""
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket in _SUMS and isinstance(out, Tensor):
            terms = [value for value in args[:2] if isinstance(value, Tensor) and value.numel() == out.numel()]
            if len(terms) == 2:
                self._sum([storage_pointer(term) for term in terms], out)
        return out

    def _sum(self, places: list[int], out: Tensor) -> None:
        for call in self._stack:
            if call is None or out.numel() != call.given.numel():
                continue
            stream = [place in call.sums for place in places]
            if any(stream):
                call.sums.add(storage_pointer(out))
                self._held.append(out)
                for place, is_stream in zip(places, stream, strict=True):
                    branch = None if is_stream else self._branch(call, place)
                    if branch is not None:
                        call.branches.append(branch)

    def _branch(self, call: _Call, place: int) -> str | None:
        """The module that made the memory ``place`` out of the stream of ``call``, but for scales and norms."""
        path = self._maker(call, place)
        while path is not None and self._only_scales(path):
            path = self._maker(call, storage_pointer(self.calls[path].given)) if path in self.calls else None
        read = path
        while read is not None and read in self.calls:
            from_ = storage_pointer(self.calls[read].given)
            if from_ in call.sums:
                return path
            read = self._maker(call, from_)
            if read is not None and not self._only_scales(read):
                return None
        return None

    def _maker(self, call: _Call, place: int) -> str | None:
        """The outermost module within ``call`` that returned the memory ``place``, and has parameters."""
        within = [path for path in self._made.get(place, ()) if covers(call.path, path)]
        within = [path for path in within if any(True for _ in self._model.get_submodule(path).parameters())]
        return min(within, key=lambda path: path.count("."), default=None)

    def _only_scales(self, path: str) -> bool:
        return all(parameter.dim() < 2 for parameter in self._model.get_submodule(path).parameters())

    def _entering(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            given = first_tensor((args, kwargs))
            usable = given is not None and given.is_floating_point() and path not in self._good
            call = _Call(path, given, given._version) if usable and given is not None else None
            if call is not None:
                call.sums.add(storage_pointer(call.given))
            self._good[path] = False
            self._stack.append(call)

        return hook

    def _leaving(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            call = self._stack.pop() if self._stack else None
            made = _result(output)
            if made is not None:
                self.returns[path] = len(output) if isinstance(output, tuple) else 0
                self._made.setdefault(storage_pointer(made), []).append(path)
                self._held.append(made)
            if call is None or call.path != path:
                self.calls.pop(path, None)
                return
            like = made is not None and made.shape == call.given.shape and made.dtype == call.given.dtype
            self._good[path] = like and call.given._version == call.before and len(call.sums) > 1
            self.calls[path] = call

        return hook


def _result(output: Any) -> Tensor | None:
    """The tensor that a module returns, alone or at the head of a tuple; None where it returns something else."""
    if isinstance(output, tuple) and output:
        output = output[0]
    return output if isinstance(output, Tensor) and output.is_floating_point() else None


def alike(found: list[Found]) -> list[tuple[str, list[Found]]]:
    """Blocks by what makes them one group, with its name: their container; single ones go with others of a class."""
    groups: dict[str, list[Found]] = {}
    for each in found:
        groups.setdefault(each.block.path.rpartition(".")[0], []).append(each)
    for single in [groups.pop(name)[0] for name, blocks in list(groups.items()) if len(blocks) == 1]:
        others = [blocks for blocks in groups.values() if blocks[0].kind == single.kind]
        (max(others, key=len) if others else groups.setdefault(single.block.path, [])).append(single)
    order = {each.block.path: place for place, each in enumerate(found)}
    named = ((_pattern(each) if name == each[0].block.path else name, each) for name, each in groups.items())
    return [(name, sorted(blocks, key=lambda each: order[each.block.path])) for name, blocks in named]


def _pattern(found: list[Found]) -> str:
    """The path of ``found`` with stars where theirs differ: that of one alone may be the name of units."""
    parts = [each.block.path.split(".") for each in found]
    return ".".join(each[0] if len(set(each)) == 1 else "*" for each in zip_longest(*parts))
