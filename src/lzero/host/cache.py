"""Decoders that return their keys and values for generation: copies that are studied do not ask for them."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from torch import Tensor, nn

from lzero.host.tensors import tensors_in
from lzero.plan.refusal import Reason

_SWITCH = "use_cache"
_NAMED = re.compile(r"config|cfg")
_NAMES = ("past_key_values", "past_key_value", "past_buckets_states", "mems", "cache_params")
IN_CACHE = Reason(
    "it is an output of the model, among keys and values that it keeps for its next call (past_key_values)",
    "only generation needs them: let the forward that training runs return none (use_cache=False among the example "
    "inputs, or the model's own switch)",
)


def without_cache(model: nn.Module) -> None:
    """``model``, a private copy, with ``use_cache`` off in configurations of its own.

    Keys and values that are outputs would keep all attention heads, and no training asks for them. Every configuration
    that asks for a cache is replaced by a copy, and so are those around it: the one that the user holds stays as it
    is, even where the copied model still shares it.
    """
    memo: dict[int, tuple[Any, Any]] = {}
    for module in model.modules():
        for name, value in list(vars(module).items()):
            if _NAMED.search(name):
                with suppress(Exception):  # a configuration that cannot be copied costs heads, never the plan
                    vars(module)[name] = _switched_off(value, memo)


def _switched_off(value: Any, memo: dict[int, tuple[Any, Any]]) -> Any:
    """``value`` itself where it does not ask for a cache, else a copy that does not; one copy of each object.

    ``memo`` holds both by the id of the first, which keeps the ids apart.
    """
    if id(value) in memo:
        return memo[id(value)][1]
    memo[id(value)] = value, value
    if isinstance(value, dict):
        parts = value
    elif isinstance(value, nn.Module | Tensor | type) or callable(value) or not hasattr(value, "__dict__"):
        return value
    else:
        parts = vars(value)
    changed = {name: made for name, held in parts.items() if (made := _switched_off(held, memo)) is not held}
    if parts.get(_SWITCH) is True:
        changed[_SWITCH] = False
    if not changed:
        return value
    made = copy.copy(value)
    memo[id(value)] = value, made
    (made if isinstance(made, dict) else vars(made)).update(changed)
    return made


def cached_tensors(outputs: Any) -> set[int]:
    """Ids of the tensors among the ``outputs`` of a forward that look like keys and values kept for the next call.

    They go by the names of a cache, lie in an object of a class called so, or in tuples (one a layer) of a tuple in the
    output tuple; or they are a pair of tensors [batch, heads, time, features] there.
    """
    return {id(tensor) for part in _caches(outputs, 0) for tensor in tensors_in(part)}


def _caches(value: Any, depth: int) -> Iterator[Any]:
    if isinstance(value, Tensor):
        return
    if "Cache" in type(value).__name__ or (depth and isinstance(value, tuple | list) and _layers(value, depth)):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _caches(item, depth + 1)
    else:
        for name, held in (value if isinstance(value, Mapping) else getattr(value, "__dict__", {})).items():
            yield from [held] if name in _NAMES else _caches(held, depth + 1) if depth == 0 else []


def _layers(value: Sequence[Any], depth: int) -> bool:
    tensors = [item for item in value if isinstance(item, Tensor)]
    pair = len(value) == len(tensors) == 2 and all(tensor.dim() == 4 for tensor in tensors)
    return pair or (depth > 1 and bool(tensors))
