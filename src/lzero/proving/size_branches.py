"""Whether the forward takes the same way under every closure: no answer that Python gets of a size may change."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from lzero.host.copies import deep_copy
from lzero.plan.group import GateGroup
from lzero.plan.refusal import Reason, Refusal
from lzero.proving.dim_sizes import DimSizes, Linear
from lzero.surgery.layer_sizes import has_rule
from lzero.surgery.numbers.spots import read_number
from lzero.surgery.shrink import shrink
from lzero.tracing.guards import DimSize, Guard, ModuleNumber, Symbol
from lzero.tracing.label import Classes, IntArray

_GRID = 1 << 21  # combinations of kept units that are tried one by one
_ADVICE = (
    "let the forward do the same for every size (keep the size of a head as an attribute, not as width // heads), or "
    "pass the module to ignore="
)


def split_by_guards(
    groups: Sequence[GateGroup], guards: Sequence[Guard], classes: Classes, model: nn.Module
) -> tuple[list[GateGroup], list[Refusal]]:
    """The groups whose closing breaks none of the ``guards``, and refusals of the others.

    Every combination of numbers of open units is looked at, so that a branch on a rare size is found too. If no answer
    on the way of the whole model can change, then every purged model takes the same way.
    """
    symbols = dict.fromkeys(symbol for guard in guards for symbol in guard.expr.symbols)
    dims, numbers = DimSizes(groups, classes), _numbers(groups, symbols, model)
    linear = {symbol: dims.of(symbol) if isinstance(symbol, DimSize) else numbers[symbol] for symbol in symbols}
    sizes = {group.name: group.size for group in groups}
    why: dict[str, Reason] = {}
    for guard in guards:
        touched = {name for symbol in guard.expr.symbols for name in linear[symbol].slopes} - why.keys()
        if touched and not _holds(guard, linear, sizes):
            reason = Reason(f"the forward {guard.act} ({guard.place})", _ADVICE)
            why.update(dict.fromkeys(touched, reason))
    kept = [group for group in groups if group.name not in why]
    return kept, [Refusal.of_group(g, why[g.name]) for g in groups if g.name in why]


def _holds(guard: Guard, linear: Mapping[Symbol, Linear], sizes: Mapping[str, int]) -> bool:
    symbols = dict.fromkeys(guard.expr.symbols)
    names = list(dict.fromkeys(name for symbol in symbols for name in linear[symbol].slopes))
    if not all(linear[symbol].known for symbol in symbols):
        return False
    if math.prod(sizes[name] for name in names) <= _GRID:
        axes = np.meshgrid(*(np.arange(1, sizes[name] + 1) for name in names), indexing="ij", sparse=True)
        return _one_answer(guard, linear, dict(zip(names, axes, strict=True)))
    # Too many to try: steady if the number itself is one number, whatever the sizes.
    drawn = np.random.default_rng(0).integers(1, 1 << 15, size=(len(names), 64))
    return bool(np.ptp(guard.expr.value(_values(symbols, linear, dict(zip(names, drawn, strict=True))))) == 0)


def _one_answer(guard: Guard, linear: Mapping[Symbol, Linear], opened: Mapping[str, IntArray]) -> bool:
    symbols = dict.fromkeys(guard.expr.symbols)
    with np.errstate(all="ignore"):
        answers = np.asarray(guard.answer(guard.expr.value(_values(symbols, linear, opened))))
    return bool((answers == answers.flat[0]).all())


def _values(
    symbols: Mapping[Symbol, Any], linear: Mapping[Symbol, Linear], opened: Mapping[str, IntArray]
) -> dict[Symbol, Any]:
    return {
        symbol: linear[symbol].constant + sum(slope * opened[name] for name, slope in linear[symbol].slopes.items())
        for symbol in symbols
    }


def _numbers(groups: Sequence[GateGroup], symbols: Mapping[Symbol, Any], model: nn.Module) -> dict[Symbol, Linear]:
    """The numbers that modules keep as functions of the units that are open."""
    by_module: dict[str, list[ModuleNumber]] = {}
    for symbol in symbols:
        if isinstance(symbol, ModuleNumber):
            by_module.setdefault(symbol.path, []).append(symbol)
    each: dict[tuple[str, str, int], dict[str, int]] = {}
    for group in groups:
        for number in group.numbers:
            each.setdefault((number.path, number.name, number.place), {})[group.name] = number.each
    sizes, names = {group.name: group.size for group in groups}, _first_names(model)
    made: dict[Symbol, Linear] = {}
    for path, asked in by_module.items():
        module = model.get_submodule(path)
        if has_rule(module):
            made |= _by_rule(module, asked, _on_module(module, groups, names))
            continue
        for symbol in asked:
            slopes = each.get((path, symbol.name, symbol.place), {})
            value = read_number(module, symbol.name, symbol.place)
            made[symbol] = Linear(value - sum(slope * sizes[name] for name, slope in slopes.items()), slopes)
    return made


def _by_rule(module: nn.Module, asked: Sequence[ModuleNumber], groups: Sequence[GateGroup]) -> dict[Symbol, Linear]:
    """What the rules of its class make of the numbers of ``module``, learnt from cut copies without values."""

    def look(opened: Mapping[str, int]) -> list[int]:
        cut = _hollow(module)
        shrink(cut, groups, {g.name: torch.arange(g.size) < opened.get(g.name, g.size) for g in groups})
        return [read_number(cut, symbol.name, symbol.place) for symbol in asked]

    few = {group.name: (group.size + 1) // 2 for group in groups}
    whole, half = look({}), look(few)
    slopes: list[dict[str, int]] = [{} for _ in asked]
    if whole != half:
        for group in groups:
            for found, before, after in zip(slopes, whole, look({group.name: group.size - 1}), strict=True):
                if before != after:
                    found[group.name] = before - after
    sizes = {group.name: group.size for group in groups}
    made: dict[Symbol, Linear] = {}
    for symbol, before, after, found in zip(asked, whole, half, slopes, strict=True):
        predicted = before - sum(slope * (sizes[name] - few[name]) for name, slope in found.items())
        constant = before - sum(slope * sizes[name] for name, slope in found.items())
        known = predicted == after
        made[symbol] = Linear(constant, found if known else dict.fromkeys(sizes, 0), known)
    return made


def _first_names(model: nn.Module) -> dict[int, str]:
    """By id, the name that plans have for every tensor of ``model``."""
    return {id(tensor): name for name, tensor in (*model.named_buffers(), *model.named_parameters())}


def _on_module(module: nn.Module, groups: Sequence[GateGroup], names: Mapping[int, str]) -> list[GateGroup]:
    """What of ``groups`` lies on the tensors of ``module``, by the names that these have in it."""
    here = {names[id(tensor)]: leaf for leaf, tensor in (*module.named_buffers(), *module.named_parameters())}
    found = []
    for group in groups:
        members = tuple(replace(m, tensor=here[m.tensor]) for m in group.members if m.tensor in here)
        if members:
            found.append(GateGroup(group.name, group.size, group.kind, members))
    return found


def _hollow(model: nn.Module) -> nn.Module:
    """A copy of ``model`` whose tensors have shapes and no values."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = buffer.detach().to("meta")
    return deep_copy(model, memo)
