"""Numbers of a configuration that build a purged model anew, where these can say what was kept."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import nn

from lzero.host.quiet import isolated_random_state
from lzero.host.tensors import tensors_of

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
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
CHOSEN = "num_experts_per_tok"
_SHOWN = 200  # characters of a stranger's message

Shapes = dict[str, tuple[int, ...]]


def plain_numbers(small: Any, left_out: Collection[str]) -> tuple[dict[str, int] | None, str]:
    """What to change in ``small.config`` so that ``type(small)(config)`` is as ``small`` is, up to values of tensors.

    Every number that counts heads, hidden units or experts is tried on: what follows it in a model of other numbers
    tells what it has to be. The whole is then built and compared: every tensor by its shape, every module by its
    numbers; but for those that the model itself keeps of its experts, for a loss (:func:`expert_numbers`).

    Args:
        small: a purged model, its configuration still that of the model before.
        left_out: names of tensors that no stock model has, and that do not count.

    Returns:
        The numbers by name, and ``""``; or None, and the reason.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in tensors_of(small).items() if name not in left_out}
    first = None
    for more in ({}, _head_size(small)):
        if more is None:
            break
        try:
            numbers = _solved(small, wanted, more)
            return numbers, ""
        except _Unsaid as reason:
            first = first or reason
    return None, str(first)


def expert_numbers(small: Any) -> dict[str, int]:
    """The numbers of experts that the model itself keeps, as its configuration has them."""
    wanted = {name: _entry(small.config, name) for name in (*EXPERTS, CHOSEN) if type(vars(small).get(name)) is int}
    return {name: number for name, number in wanted.items() if type(number) is int}


class _Unsaid(Exception):
    """Why a configuration cannot say what was kept."""


def _head_size(small: Any) -> dict[str, int] | None:
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


def _solved(small: Any, wanted: Shapes, more: Mapping[str, int]) -> dict[str, int]:
    numbers = dict(more)
    start = _shapes(_built(small, numbers))
    if start == wanted:
        return _checked(small, wanted, {})
    _same_names(small, start, wanted)
    for name in (*HEADS, *WIDTHS, *EXPERTS):
        value = _entry(small.config, name)
        if value is None and name == "n_inner" and name in vars(small.config):
            value = 4 * small.config.n_embd
        if type(value) is not int or value < 2:
            continue
        new = _new_value(small, name, value, numbers, start, wanted)
        if new != value:
            numbers[name] = new
            chosen = _entry(small.config, CHOSEN)
            if name in EXPERTS and type(chosen) is int and new < chosen:
                numbers[CHOSEN] = new
            start = _shapes(_built(small, numbers))
    return _checked(small, wanted, numbers)


def _new_value(small: Any, name: str, value: int, numbers: Mapping[str, int], start: Shapes, wanted: Shapes) -> int:
    """What ``name`` has to be for every dim that follows it to be as wanted."""
    for trial in (2 * value, 4 * value, value // 2):
        try:
            other = _shapes(_built(small, {**numbers, name: trial}))
        except _Unsaid:
            continue
        dims = [
            (tensor, dim)
            for tensor, shape in start.items()
            for dim, size in enumerate(shape)
            if other[tensor][dim] * value == size * trial != size * value
        ]
        found = sorted({wanted[tensor][dim] * value / start[tensor][dim] for tensor, dim in dims})
        if len(found) > 1:
            kept = ", ".join(f"{number:g}" for number in found)
            raise _Unsaid(f"{name}: one number for all layers, which kept {kept} of {value}")
        if found:
            return round(found[0])
    return value


def _checked(small: Any, wanted: Shapes, numbers: dict[str, int]) -> dict[str, int]:
    """``numbers``, where a model built with them is as ``small`` in all that is no value of a tensor."""
    stock = _built(small, numbers)
    shapes = _shapes(stock)
    _same_names(small, shapes, wanted)
    for name, shape in wanted.items():
        if shapes[name] != shape:
            raise _Unsaid(f"{name}: kept {list(shape)}, which no number of {type(small.config).__name__} says")
    others = dict(stock.named_modules())
    for path, module in small.named_modules():
        other = others.get(path, stock)
        for name, number in _numbers(module).items():
            if _numbers(other).get(name) != number and (path or name not in (*EXPERTS, CHOSEN)):
                raise _Unsaid(
                    f"{path}.{name}: is {number}, and {_numbers(other).get(name)} in a {type(small).__name__} "
                    "that is built from its configuration"
                )
    return numbers


def _same_names(small: Any, found: Shapes, wanted: Shapes) -> None:
    if found.keys() != wanted.keys():
        name = sorted(found.keys() ^ wanted.keys())[0]
        raise _Unsaid(f"{name}: a {type(small).__name__} that is built from its configuration differs in it")


def _built(small: Any, numbers: Mapping[str, int]) -> nn.Module:
    """A model of the class of ``small``, without values, from its configuration with ``numbers`` changed."""
    config = copy.deepcopy(small.config)
    try:
        for name, number in numbers.items():
            setattr(config, name, number)
        if hasattr(config, "validate"):
            config.validate()
        with isolated_random_state(small), torch.device("meta"):
            made: nn.Module = type(small)(config)
    except Exception as error:
        said = " ".join(str(error).split())[:_SHOWN]
        raise _Unsaid(f"{type(config).__name__} with {dict(numbers)}: {type(error).__name__}: {said}") from error
    return made


def _shapes(model: nn.Module) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in tensors_of(model).items()}


def _numbers(module: nn.Module) -> dict[str, int | float]:
    """The numbers that a module keeps beside its layers."""
    return {name: value for name, value in vars(module).items() if type(value) in (int, float) and name[0] != "_"}
