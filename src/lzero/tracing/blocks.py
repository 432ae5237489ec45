"""Blocks and branches of a network that a gate may switch as a whole: found in one forward, to be proved later.

A *block* is an entry of a Sequential or ModuleList that adds to the tensor that it is called with (an op adds to that
very memory, or to such a sum) and gives back one of the same shape. A *branch* is a module in a block whose result is
what is added. Both need parameters of their own, and are called once in a forward.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest

import torch
from torch import nn

from lzero.host.inputs import ExampleInputs
from lzero.host.quiet import isolated_random_state, unfused
from lzero.host.stand_ins import exact_ops
from lzero.plan.block import Block
from lzero.plan.paths import covers, join
from lzero.plan.refusal import Reason, Refusal
from lzero.tracing.block_watch import BlockWatch

_SHARED = Reason("all of its parameters stand elsewhere too, and none would leave with it")


@dataclass(frozen=True)
class Found:
    """A block, with the branches in it.

    Attributes:
        block: as it can be closed.
        kind: name of its class, by which single blocks are alike.
        branches: in it, in the order in which they are added; none where there is one alone, which is the block.
        made: the names that parameters have in it, by which blocks of one list are alike.
    """

    block: Block
    kind: str
    branches: tuple[Block, ...]
    made: tuple[str, ...] = ()


def blocks_of(
    model: nn.Module, example_inputs: object, wanted: Callable[[str], bool]
) -> tuple[list[Found], list[Refusal]]:
    """The blocks of ``model``, a private copy in eval mode, in the order in which they stand in it; and what only looks
    like one, with the reason.

    Args:
        model: it is left as it is.
        example_inputs: of one forward, on which it runs.
        wanted: says of the path of a module whether it may be closed as a whole.
    """
    watch = BlockWatch(model)
    try:
        with unfused(), exact_ops(model), torch.no_grad(), isolated_random_state(model), watch:
            ExampleInputs.of(example_inputs).call(model)
    finally:
        watch.remove()
    own = _own_parameters(model)
    candidates = [
        (path, join(path, name), entry)
        for path, container in model.named_modules()
        if isinstance(container, nn.ModuleList) or type(container).forward is nn.Sequential.forward
        for name, entry in container._modules.items()
        if entry is not None and wanted(join(path, name)) and any(True for _ in entry.parameters())
    ]
    entries = [item for item in candidates if watch.adds(item[1]) and own(item[1])]
    reasons = {place: watch.why_not(place) or _SHARED for _, place, _ in candidates if watch.resembles(place)}
    reasons = {place: reason for place, reason in reasons.items() if all(place != other for _, other, _ in entries)}
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
    blocks = [
        Found(Block(path, "removed", own(path), watch.returns[path]), kind, _apart(branches), _made_of(model, path))
        for path, (kind, branches) in found.items()
    ]
    return blocks, [_refused(place, own(place), reason) for place, reason in reasons.items()]


def _refused(path: str, tensors: tuple[str, ...], reason: Reason) -> Refusal:
    return Refusal(path, 1, tensors, reason.text, reason.advice)


def _made_of(model: nn.Module, path: str) -> tuple[str, ...]:
    return tuple(name for name, _ in model.get_submodule(path).named_parameters(remove_duplicate=False))


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


def alike(found: list[Found]) -> list[tuple[str, list[Found]]]:
    """Blocks by what makes them one group, with its name: their container and what they are made of.

    Of blocks that are made otherwise, attention and recurrence in turns, one of each stays: a cache may need it. Single
    ones go with others of their class.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[Found]] = {}
    for each in found:
        groups.setdefault((each.block.path.rpartition(".")[0], each.made), []).append(each)
    for single in [groups.pop(key)[0] for key, blocks in list(groups.items()) if len(blocks) == 1]:
        made = (single.kind, single.made)
        others = [blocks for blocks in groups.values() if (blocks[0].kind, blocks[0].made) == made]
        (max(others, key=len) if others else groups.setdefault((single.block.path, made[1]), [])).append(single)
    order = {each.block.path: place for place, each in enumerate(found)}
    named = dict[str, list[Found]]()
    for (name, _), blocks in groups.items():
        name = _pattern(blocks) if name == blocks[0].block.path else name
        named[f"{name}, as {blocks[0].block.path}" if name in named else name] = blocks
    return [(name, sorted(blocks, key=lambda each: order[each.block.path])) for name, blocks in named.items()]


def _pattern(found: list[Found]) -> str:
    """The path of ``found`` with stars where theirs differ: that of one alone may be the name of units."""
    parts = [each.block.path.split(".") for each in found]
    return ".".join(each[0] if len(set(each)) == 1 else "*" for each in zip_longest(*parts))
