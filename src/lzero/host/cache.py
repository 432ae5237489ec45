"""Keys and values that a decoder keeps for its next call: state, and no result of the forward that returns them."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import Any

from torch import Tensor, nn

from lzero.host.tensors import tensors_in
from lzero.plan.refusal import Reason

SWITCH = "use_cache"
"""The argument, and the number of a configuration, by which transformers ask for keys and values."""

_NAMED = re.compile(r"config|cfg")
_NAMES = ("past_key_values", "past_key_value", "past_buckets_states", "mems", "cache_params")
_STATES = {"encoder_last_hidden_state": "encoder_outputs"}  # and the argument that takes it back
_KEEPS = re.compile(r"past|cache|mems")
_CLASS = "Cache"
IN_CACHE = Reason(
    "it is an output of the model, among keys and values that it seems to keep for its next call",
    "return them by a name under which the forward takes them back (past_key_values), or let the forward that training "
    "runs return none (use_cache=False among the example inputs, or the model's own switch)",
)
UNREAD_CACHE = Reason(
    "it is kept for a next call, which does not run on these example inputs or does not read it: it is an output",
    "let the example inputs leave room for as many steps again, or let the forward return none (use_cache=False)",
)


def asks_for_cache(model: nn.Module) -> bool:
    """Whether a forward of ``model`` takes ``use_cache``, and a configuration in it has that on."""
    memo: dict[int, tuple[Any, Any]] = {}
    for value in (v for module in model.modules() for name, v in vars(module).items() if _NAMED.search(name)):
        with suppress(Exception):
            if _switched_off(value, memo) is not value:
                return SWITCH in _parameters(model)
    return False


Switched = tuple[str, str, Any]
"""The path of a module, the name of its configuration, and the configuration that asks for a cache."""


def with_cache_again(model: nn.Module, switched: Sequence[Switched]) -> None:
    """``model``, a private copy, with the configurations that :func:`without_cache` has replaced."""
    for path, name, value in switched:
        vars(model.get_submodule(path))[name] = value


def without_cache(model: nn.Module) -> list[Switched]:
    """``model``, a private copy, with ``use_cache`` off in configurations of its own; those that asked for a cache.

    A trace needs no state for a next call, and it costs time and memory. Every configuration that asks for a cache is
    replaced by a copy, and so are those around it: the one that the user holds stays as it is, even where the copied
    model still shares it.
    """
    memo: dict[int, tuple[Any, Any]] = {}
    switched = list[Switched]()
    for path, module in model.named_modules():
        for name, value in list(vars(module).items()):
            if _NAMED.search(name):
                with suppress(Exception):  # a configuration that cannot be copied costs heads, never the plan
                    off = _switched_off(value, memo)
                    if off is not value:
                        vars(module)[name] = off
                        switched.append((path, name, value))
    return switched


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
    if parts.get(SWITCH) is True:
        changed[SWITCH] = False
    if not changed:
        return value
    made = copy.copy(value)
    memo[id(value)] = value, made
    (made if isinstance(made, dict) else vars(made)).update(changed)
    return made


def kept_in(outputs: Any, model: nn.Module) -> list[tuple[str | None, Any]]:
    """What a forward of ``model`` keeps for its next call among ``outputs``: the argument that takes it back, and it.

    A cache of transformers, wherever it stands; what goes by the name that such a cache has; and what is called a past,
    a cache or mems where the forward takes it back by that name. The argument is None where it takes none.
    """
    parameters = _parameters(model)
    return [(_argument(name, parameters), held) for name, held in _entries(outputs) if _is_kept(name, held, parameters)]


def results_in(outputs: Any, model: nn.Module, *, kept: bool = False) -> Iterator[Tensor]:
    """The tensors among ``outputs`` that are no state of the forward, in order; with those it has ``kept`` if asked."""
    parameters, states = _parameters(model), states_in(outputs, model)
    for name, held in _entries(outputs):
        if name not in states and (kept or not _is_kept(name, held, parameters)):
            yield from tensors_in(held)


def states_in(outputs: Any, model: nn.Module) -> dict[str, Tensor]:
    """What an encoder has made for the decoder of the same forward, by the name that it is returned under.

    Transformers return it after the logits, whatever they are asked for, for calls that take it back as
    ``encoder_outputs``. Where nothing comes before it, no decoder has run; then it is a result, and so it is where no
    call takes it back.
    """
    parameters = _parameters(model)
    known = [name for name, argument in _STATES.items() if argument in parameters]
    entries = [(name, held) for name, held in _entries(outputs) if not _is_kept(name, held, parameters)]
    before = takewhile(lambda entry: entry[0] not in known, entries)
    if not any(tensor.is_floating_point() for _, held in before for tensor in tensors_in(held)):
        return {}
    return {name: held for name, held in entries if name in known and isinstance(held, Tensor)}


def is_cache(value: Any) -> bool:
    """Whether ``value`` is a cache of transformers, by the name of its class."""
    return any(_CLASS in kind.__name__ and kind.__module__.startswith("transformers.") for kind in type(value).__mro__)


def _is_kept(name: str | None, held: Any, parameters: Sequence[str]) -> bool:
    if is_cache(held) or name in _NAMES:
        return True
    return name is not None and name in parameters and _KEEPS.search(name) is not None


def _argument(name: str | None, parameters: Sequence[str]) -> str | None:
    if name in parameters:
        return name
    return next((known for known in _NAMES if known in parameters), None)


def _parameters(model: nn.Module) -> list[str]:
    """Names of the arguments of the forward of ``model``."""
    try:
        return list(inspect.signature(model.forward).parameters)
    except (TypeError, ValueError):  # a callable of somebody's own
        return []


def _entries(outputs: Any, depth: int = 0) -> Iterator[tuple[str | None, Any]]:
    """The parts of ``outputs``, with their names where they have one."""
    if isinstance(outputs, Tensor) or outputs is None or is_cache(outputs):
        yield None, outputs
    elif isinstance(outputs, Mapping):
        yield from _named_entries(outputs)
    elif type(outputs) in (tuple, list, set, frozenset):
        for held in outputs:
            yield from _entries(held, 1) if depth == 0 else [(None, held)]
    elif isinstance(outputs, tuple | list):
        yield from zip(getattr(outputs, "_fields", (None,) * len(outputs)), outputs, strict=True)  # a named tuple's
    else:
        yield from getattr(outputs, "__dict__", {}).items()


def _named_entries(outputs: Mapping[Any, Any]) -> Iterator[tuple[str | None, Any]]:
    """The parts of a mapping by name; what is a cache within one of them (the outputs of a part) is a part itself."""
    for key, held in outputs.items():
        name = key if isinstance(key, str) else None
        inner = {part for part, value in held.items() if is_cache(value)} if isinstance(held, Mapping) else set()
        if inner and not is_cache(held):
            yield name, {part: value for part, value in held.items() if part not in inner}
            yield from ((part if isinstance(part, str) else None, held[part]) for part in held if part in inner)
        else:
            yield name, held


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
