"""Blocks and branches as groups of gates, put to the proof: as they are found, and where that fails one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from lzero.plan.block import Block, Closed
from lzero.plan.group import GateGroup
from lzero.plan.paths import covers
from lzero.plan.refusal import Reason, Refusal
from lzero.proving.blocks import ModelProof
from lzero.surgery.left_out import LeftOut
from lzero.tracing.blocks import Found, alike

_TRIED: dict[Closed, tuple[Closed, ...]] = {
    "removed": ("removed", "identity"),
    "identity": ("identity",),
    "zero": ("zero",),
}
_OTHERS = "it returns more than one result, and what follows reads the others too"
_INSIDE = "the forward reads into it, past its call"
_WAY_OUT = "let the block return what is read elsewhere by another way, or pass it to ignore="
_ROOT = "*"  # the children of a model, which has no name
_TIED = Reason("it shares a parameter with other blocks, which would leave with the last of them")
_SINGLE = Reason("it is one single block: closing it would close all of them")


def accept_modules(
    proof: ModelProof, found: list[Found], given: Sequence[GateGroup]
) -> tuple[list[GateGroup], list[Refusal]]:
    """``given`` and groups of the blocks and branches in ``found`` that hold together with them; and what is refused.

    A block that cannot leave its container, since a forward counts or numbers what is in it, is tried as one that
    stays as a module that passes on.
    """
    proposed, tied = _without_tied(list(_proposed(found)), proof.shared_parameters())
    refusals = [_refusal(block.path, [block], _TIED) for block in tied]
    refusals += [_refusal(group.name, group.blocks, _SINGLE) for group in proposed if group.size < 2]
    several = [group for group in proposed if group.size > 1]
    accepted, unproved = proof.accept(several, given)
    names = {refusal.name for refusal in unproved}
    again = list[GateGroup]()
    for group in several:
        if group.name in names:
            good, bad = _one_by_one(proof, group)
            refusals += bad
            stay = any(block.closed == "identity" for block in good)  # what numbers one of them numbers all of them
            again += [_group(group.name, _in_place(good) if stay else good)] if len(good) > 1 else []
            refusals += [_refusal(block.path, [block], _SINGLE) for block in good] if len(good) == 1 else []
    accepted, unproved = proof.accept(again, accepted)
    names = {refusal.name for refusal in unproved}
    staying = [_group(group.name, _in_place(group.blocks)) for group in again if group.name in names]
    accepted, unproved = proof.accept(staying, accepted)
    return accepted, [*refusals, *unproved]


def _proposed(found: list[Found]) -> Iterator[GateGroup]:
    """Blocks first, which own the branches in them."""
    sets = [(name or _ROOT, blocks) for name, blocks in alike(found)]
    for name, blocks in sets:
        yield _group(name, [found.block for found in blocks])
    by_place: dict[tuple[str, str], list[Block]] = {}  # list of blocks, and place in one of them
    for name, blocks in sets:
        lists = {each.block.path.rpartition(".")[0] for each in blocks}
        home = name if len(lists) > 1 else lists.pop() or _ROOT
        for each in blocks:
            for branch in each.branches:
                place = branch.path.removeprefix(each.block.path)
                by_place.setdefault((home, place), []).append(branch)
    for (name, place), branches in by_place.items():
        starred = _ROOT if name == _ROOT else f"{name}.{_ROOT}"
        yield _group(f"{starred}{place}" if len(branches) > 1 else branches[0].path, branches)


def _without_tied(groups: list[GateGroup], shared: Sequence[Sequence[str]]) -> tuple[list[GateGroup], list[Block]]:
    """``groups`` such that no parameter with several names leaves with the last module that has it, and the rest."""
    stay = set[str]()
    for names in shared:
        inside = [{b.path for group in groups for b in group.blocks if covers(b.path, name)} for name in names]
        if not all(inside) or set.intersection(*inside):  # one is outside; or it is counted with a module around all
            continue
        holders = set.union(*inside)
        others = [{b.path for b in group.blocks} for group in groups]
        if not all(paths <= holders for paths in others if paths & holders):  # of a whole group one stays
            stay |= inside[0]
    left = [_group(group.name, [b for b in group.blocks if b.path not in stay]) for group in groups]
    return [group for group in left if group.size], [b for group in groups for b in group.blocks if b.path in stay]


def _one_by_one(proof: ModelProof, group: GateGroup) -> tuple[list[Block], list[Refusal]]:
    """The modules of ``group`` that hold alone, as they were found or as ones that pass on, and the others."""
    good, refusals = list[Block](), list[Refusal]()
    for place, block in enumerate(group.blocks):
        opened = torch.ones(group.size, dtype=torch.float64)
        opened[place] = 0
        reason: Reason | None = None
        for closed in _TRIED[block.closed]:
            changed = replace(block, closed=closed)
            trial = replace(group, blocks=(*group.blocks[:place], changed, *group.blocks[place + 1 :]))
            reason = proof.why_not_closed(trial, opened)
            if reason is None:
                good.append(changed)
                break
        if reason is not None:
            refusals.append(_refusal(block.path, [block], _told(block, reason)))
    return good, refusals


def _told(block: Block, reason: Reason) -> Reason:
    """``reason`` as it reads of a whole module: something needs more of it than the tensor that it passes on."""
    if f"'{LeftOut.__name__}'" in reason.text:
        return Reason(f"{_INSIDE}: {reason.text.partition(' (a hard-coded size?)')[0]}", _WAY_OUT)
    if block.returns > 1:
        return Reason(f"{_OTHERS}: {reason.text.partition(' (a hard-coded size?)')[0]}", _WAY_OUT)
    return reason


def _in_place(blocks: Sequence[Block]) -> list[Block]:
    """``blocks`` that all keep their places: each alone may leave, where two of them change what is numbered."""
    return [replace(block, closed="identity") if block.closed == "removed" else block for block in blocks]


def _group(name: str, blocks: Sequence[Block]) -> GateGroup:
    return GateGroup(name, len(blocks), "depth", (), blocks=tuple(blocks))


def _refusal(name: str, blocks: Sequence[Block], reason: Reason) -> Refusal:
    tensors = tuple(name for block in blocks for name in block.tensors)
    return Refusal(name, len(blocks), tensors, reason.text, reason.advice)
