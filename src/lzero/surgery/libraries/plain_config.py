"""Numbers of a configuration that build a purged model anew, where these can say what was kept.

Heads and hidden units that all layers kept alike, the width of a stream, and what its norms add to a variance.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lzero.host.quiet import isolated_random_state
from lzero.host.tensors import tensors_of
from lzero.plan.paths import join
from lzero.surgery.libraries.stock import Undrawn, difference_from_stock

HEADS = (
    "num_attention_heads",
    "num_heads",
    "n_head",
    "n_heads",
    "num_key_value_heads",
    "encoder_attention_heads",
    "decoder_attention_heads",
)
WIDTHS = (
    "intermediate_size",
    "n_inner",
    "d_ff",
    "ffn_dim",
    "hidden_dim",
    "encoder_ffn_dim",
    "decoder_ffn_dim",
)
STREAMS = ("hidden_size", "d_model", "n_embd", "dim", "embed_dim", "emb_dim")
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "num_experts_per_tok")
_EPS = "eps"  # in the names of what norms add to a variance
_SHOWN = 200  # characters of a stranger's message

Number = int | float


@dataclass(frozen=True)
class _Facts:
    """What a model is but for values: shapes of tensors, and the numbers that modules keep beside them, by name."""

    shapes: Mapping[str, tuple[int, ...]]
    numbers: Mapping[str, Number]

    @classmethod
    def of(cls, model: nn.Module, left_out: Collection[str] = ()) -> _Facts:
        return cls(
            {name: tuple(tensor.shape) for name, tensor in tensors_of(model).items() if name not in left_out},
            {
                join(path, name): value
                for path, module in model.named_modules()
                for name, value in vars(module).items()
                if type(value) in (int, float) and name[0] != "_"
            },
        )

    def sizes(self) -> tuple[dict[tuple[str, int], Number], ...]:
        """The shapes by name and dim, and the other numbers likewise."""
        dims: dict[tuple[str, int], Number] = {
            (name, dim): size for name, shape in self.shapes.items() for dim, size in enumerate(shape)
        }
        return dims, {(name, -1): number for name, number in self.numbers.items()}


def plain_numbers(small: Any, left_out: Collection[str], inputs: object = None) -> tuple[dict[str, Number] | None, str]:
    """What to change in ``small.config`` so that ``type(small)(config)``, with its values, is as ``small`` is.

    Every number that counts heads or units, or that norms add to a variance, is tried on: what follows it in a model of
    other numbers tells what it has to be. The whole is then built and compared: every tensor by its shape, every module
    by its numbers, and what it gives on ``inputs``, to the bit: a forward may compute with the width that it reads in
    the configuration.

    Args:
        small: a purged model, its configuration still that of the model before.
        left_out: names of tensors that no stock model has, and that do not count.
        inputs: of one forward.

    Returns:
        The numbers by name, and ``""``; or None, and the reason.
    """
    wanted = _Facts.of(small, left_out)
    said = ""
    for more in ({}, _head_size(small)):
        if more is None:
            break
        try:
            numbers, stale = _solved(small, wanted, more)
            if numbers:
                _run(small, numbers, stale, left_out, inputs)
            return numbers, ""
        except _Unsaid as reason:
            said = str(reason)
    return None, said


class _Unsaid(Exception):
    """Why a configuration cannot say what was kept."""


def _head_size(small: Any) -> dict[str, Number] | None:
    """The size of a head as a number of the configuration, for classes that look for one there before they divide."""
    found = [vars(module).get("head_dim") for module in small.modules()]
    sizes = {size for size in found if type(size) is int}
    known = _entry(small.config, "head_dim") is not None
    return None if known or len(sizes) != 1 else {"head_dim": sizes.pop()}


def _entry(config: Any, name: str) -> Any:
    """What ``config`` holds by that name; None where it has none, or raises as one that differs from layer to layer."""
    with suppress(Exception):
        return getattr(config, name, None)
    return None


def _candidates(config: Any) -> Iterator[tuple[str, Number]]:
    """The numbers of ``config`` that may have to change, each by the one name that it is kept under."""
    kept_as = _entry(type(config), "attribute_map") or {}
    eps = [name for name, value in vars(config).items() if type(value) is float and _EPS in name]
    for name in dict.fromkeys(kept_as.get(name, name) for name in (*HEADS, *WIDTHS, *STREAMS, *EXPERTS, *eps)):
        value = _implied(config).get(name, _entry(config, name))
        if type(value) is float or (type(value) is int and value > 1):
            yield name, value


def _implied(config: Any) -> dict[str, Number]:
    """A number that ``config`` leaves to be four times the width of the stream, as that of GPT-2 does."""
    with suppress(Exception):
        if "n_inner" in vars(config) and config.n_inner is None:
            return {"n_inner": 4 * config.hidden_size}
    return {}


def _solved(small: Any, wanted: _Facts, more: Mapping[str, Number]) -> tuple[dict[str, Number], str]:
    """The numbers that ``wanted`` needs, each told by itself; none where nothing was closed. And what is stale."""
    implied = _implied(small.config)
    given = {**more, **implied}
    start = _Facts.of(_built(small, given))
    if start.shapes == wanted.shapes:
        return {}, _checked(small, wanted, start, {})
    _same_names(small, start, wanted)
    numbers = dict(given)
    for name, value in _candidates(small.config):
        new = _new_value(small, name, value, given, start, wanted)
        if new != value:
            numbers[name] = new
    stale = _checked(small, wanted, start, numbers)
    needless = [name for name in implied if _Facts.of(_built(small, {**numbers, name: None})).shapes == wanted.shapes]
    return {name: number for name, number in numbers.items() if name not in needless}, stale


def _new_value(
    small: Any, name: str, value: Number, given: Mapping[str, Number], start: _Facts, wanted: _Facts
) -> Number:
    """What ``name`` has to be for all that follows it to be as wanted."""
    for trial in (2 * value, 4 * value, value // 2 if type(value) is int else value / 2):
        try:
            other = _Facts.of(_built(small, {**given, name: trial}))
        except _Unsaid:
            continue
        # Numbers beside the tensors, such as how many heads there are to a key, may follow from several.
        for sizes, changed, goals in zip(start.sizes(), other.sizes(), wanted.sizes(), strict=True):
            found: dict[Number, str] = {}
            for key, size in sizes.items():
                if changed.get(key, size) * value == size * trial != size * value and key in goals:
                    found.setdefault(goals[key] if size == value else goals[key] * value / size, key[0])
            if len(found) > 1:
                kept = ", ".join(f"{number:g} ({found[number]})" for number in sorted(found))
                raise _Unsaid(f"{name}: one number for all layers, of whose {value:g} are left {kept}")
            for new in found:
                return new if type(value) is float else round(new)
    return value


def _checked(small: Any, wanted: _Facts, start: _Facts, numbers: Mapping[str, Number]) -> str:
    """Raise where a model built with ``numbers`` is not as ``small`` in shapes, or in numbers that purging has set.

    Others may be ones that no forward reads: returns a word on the first that is not as it is there.
    """
    stock = _Facts.of(_built(small, numbers))
    _same_names(small, stock, wanted)
    for name, shape in wanted.shapes.items():
        if stock.shapes[name] != shape:
            raise _Unsaid(f"{name}: kept {list(shape)}, which no number of {type(small.config).__name__} says")
    stale = ""
    for name, number in wanted.numbers.items():
        if (other := stock.numbers.get(name)) != number:
            said = f"{name}: is {number}, and {other} in a {type(small).__name__} that is built from its configuration"
            if number != start.numbers.get(name):
                raise _Unsaid(said)
            stale = stale or said
    return stale


def _same_names(small: Any, found: _Facts, wanted: _Facts) -> None:
    if found.shapes.keys() != wanted.shapes.keys():
        name = sorted(found.shapes.keys() ^ wanted.shapes.keys())[0]
        raise _Unsaid(f"{name}: a {type(small).__name__} that is built from its configuration differs in it")


def _run(small: Any, numbers: Mapping[str, Number], stale: str, left_out: Collection[str], inputs: object) -> None:
    """Raise where a stock model with ``numbers`` and the values of ``small`` gives something else."""
    problem = difference_from_stock(small, _built(small, numbers, device="cpu"), left_out, inputs)
    if problem:
        raise _Unsaid(stale or f"a {type(small).__name__} that is built from its configuration {problem}")


def _built(small: Any, numbers: Mapping[str, Number | None], device: str = "meta") -> nn.Module:
    """A model of the class of ``small`` from its configuration with ``numbers`` changed; by default without values."""
    config = copy.deepcopy(small.config)
    try:
        for name, number in numbers.items():
            setattr(config, name, number)
        if hasattr(config, "validate"):
            config.validate()
        with isolated_random_state(small), torch.device(device), Undrawn():
            made: nn.Module = type(small)(config)
    except Exception as error:
        said = " ".join(str(error).split())[:_SHOWN]
        raise _Unsaid(f"{type(config).__name__} with {dict(numbers)}: {type(error).__name__}: {said}") from error
    return made
