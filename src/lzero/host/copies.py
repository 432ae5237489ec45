"""Copies of a stranger's model that share with it what they should, and nothing else."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import suppress
from functools import partial, update_wrapper
from types import CellType, FunctionType, MethodType
from typing import Any

from torch import Tensor, nn

from lzero._torch import compiled_from, forget_compiled_call
from lzero.errors import StructureError
from lzero.host.cache import Switched, without_cache
from lzero.host.mode import set_mode
from lzero.host.quiet import isolated_random_state
from lzero.host.sharing import check_apart
from lzero.host.tensors import tensors_in

_REGISTERED = ("_parameters", "_buffers", "_modules")
_ATOMS = (type(None), bool, int, float, str)
_TABLES = (OrderedDict, dict, list, set)
_COPYING = ("__new__", "__reduce__", "__reduce_ex__", "__getstate__")


def private_copy(model: nn.Module) -> nn.Module:
    """A deep copy of ``model`` in eval mode that asks for no cache, to run and change freely.

    Raises:
        StructureError: the model cannot be copied, or its copy holds parts of it.
    """
    return copy_and_switches(model)[0]


def copy_and_switches(model: nn.Module) -> tuple[nn.Module, list[Switched]]:
    """The same, and what of the copy asked for a cache before.

    Raises:
        StructureError: as above.
    """
    copied = deep_copy(model)
    set_mode(copied, training=False)
    return copied, without_cache(copied)


def linked_copy(model: nn.Module, *, private: bool = False) -> nn.Module:
    """A copy of ``model`` that shares its parameters and nothing else: to run and cut at little cost.

    Of a ``private`` model, which is a copy already, that is known and not looked at again.
    """
    return deep_copy(model, {id(parameter): parameter for parameter in model.parameters()}, check=not private)


def deep_copy(model: nn.Module, memo: dict[int, Any] | None = None, *, check: bool = True) -> nn.Module:
    """``copy.deepcopy(model, memo)``, also of what that refuses or shares.

    Tensors with a grad history that a forward left on a module (``self.aux_loss = ...``) are copied without it.
    Functions on modules, and hooks, that hold on to modules (``self.mlp = lambda x: self.proj(x)``) hold those of the
    copy, which would else run, and update, parts of ``model``; where they were compiled, the copy has them plain.

    Raises:
        StructureError: the model cannot be copied, or its copy holds modules, parameters or buffers of it that
            ``memo`` does not name.
    """
    given = memo or {}
    try:
        with isolated_random_state(model):  # a module may copy itself by building another
            made, memo = _copied(model, given)
    except Exception as error:
        raise StructureError(
            f"{type(model).__name__} cannot be deep-copied ({type(error).__name__}: {error}), and its structure is "
            "only ever studied on a copy; remove open handles, generators and the like from its attributes"
        ) from error
    if not isinstance(made, nn.Module):
        raise StructureError(
            f"{type(model).__name__}.__deepcopy__: expected it to return an nn.Module, found {type(made).__name__}; "
            "its structure is only ever studied on a copy"
        )
    for module in made.modules():
        forget_compiled_call(module)
    if check:
        check_apart(model, made, given.values())
    for module in made.modules():
        attributes = vars(module)
        _uncompile(attributes, memo)
        _rebind(attributes, memo)
        for name, value in attributes.items():
            if isinstance(value, dict | list) and value and name not in _REGISTERED:
                _uncompile(value, memo)
                _rebind(value, memo)
    return made


def _copied(model: nn.Module, given: dict[int, Any]) -> tuple[Any, dict[int, Any]]:
    """The copy, and what was copied into what."""
    try:
        memo = dict(given)
        _copy_delegating(model, memo)
        _copy_plain(model, memo)
        return copy.deepcopy(model, memo), memo
    except RuntimeError:  # deepcopy refuses tensors with a history
        memo = given | _without_history(model)
        _copy_delegating(model, memo)
        _copy_plain(model, memo)
        return copy.deepcopy(model, memo), memo


def _copy_delegating(model: nn.Module, memo: dict[int, Any]) -> None:
    """Copy into ``memo`` the modules that pass every attribute they lack on to the module in them.

    A gated layer brings a ``__deepcopy__``, and a wrapper around it that has none (``ModulesToSaveWrapper`` of peft, a
    compiled layer) would hand out its, so that a copy of the layer took the place of the wrapper.
    """
    for module in model.modules():
        kind = type(module)
        if id(module) in memo or hasattr(kind, "__deepcopy__") or "__deepcopy__" in vars(module):
            continue
        if getattr(module, "__deepcopy__", None) is not None:
            made = memo[id(module)] = kind.__new__(kind)
            made.__setstate__(copy.deepcopy(module.__getstate__(), memo))  # type: ignore[no-untyped-call]


def _copy_plain(model: nn.Module, memo: dict[int, Any]) -> None:
    """Copy into ``memo`` the modules that are copied attribute by attribute, as deepcopy would, in a fifth of its time.

    Most attributes are numbers, and a dozen tables of hooks a module, mostly empty. What a module holds comes before
    it, for a ``__deepcopy__`` that looks at the copies of its parts.
    """
    plain = [module for module in model.modules() if id(module) not in memo and _is_plain(module)]
    for module in plain:
        memo[id(module)] = type(module).__new__(type(module))
    for module in reversed(plain):
        state = module.__getstate__()  # type: ignore[no-untyped-call]
        memo[id(module)].__setstate__({name: _copied_value(value, memo) for name, value in state.items()})


def _copied_value(value: Any, memo: dict[int, Any]) -> Any:
    if type(value) in _ATOMS:
        return value
    if type(value) in _TABLES and not value and id(value) not in memo:
        memo[id(value)] = type(value)()
    return copy.deepcopy(value, memo) if id(value) not in memo else memo[id(value)]


def _is_plain(module: nn.Module) -> bool:
    """Whether neither ``module`` nor its class has anything to say on how it is copied."""
    kind = type(module)
    return (
        getattr(module, "__deepcopy__", None) is None
        and all(getattr(kind, name) is getattr(nn.Module, name) for name in _COPYING)
        and not any("__slots__" in vars(base) or "__getnewargs__" in vars(base) for base in kind.__mro__)
    )


def _without_history(model: nn.Module) -> dict[int, Any]:
    """By id, a plain copy of every tensor on a module that an op has made."""
    found: dict[int, Any] = {}
    for module in model.modules():
        for tensor in tensors_in({name: held for name, held in vars(module).items() if name not in _REGISTERED}):
            if not tensor.is_leaf and id(tensor) not in found:
                found[id(tensor)] = tensor.detach().clone()
    return found


def _uncompile(table: MutableMapping[Any, Any] | list[Any], memo: dict[int, Any]) -> None:
    """Replace the compiled methods in ``table`` (``model.forward = torch.compile(model.forward)``), which run on those
    whose methods they were, by the plain ones of the copies.
    """
    for name, value in list(table.items() if isinstance(table, MutableMapping) else enumerate(table)):
        plain = compiled_from(value)
        if isinstance(plain, MethodType) and id(plain.__self__) in memo:
            table[name] = MethodType(plain.__func__, memo[id(plain.__self__)])
        elif isinstance(plain, FunctionType) and _holds(plain, memo, set()):
            table[name] = plain


def _rebind(table: MutableMapping[Any, Any] | list[Any], memo: dict[int, Any]) -> None:
    """Replace the functions in ``table`` that hold on to what ``memo`` has a copy of."""
    for name, value in list(table.items() if isinstance(table, MutableMapping) else enumerate(table)):
        if isinstance(value, FunctionType) and not _of_torch(value) and _holds(value, memo, set()):
            table[name] = _rebound(value, memo)


def _holds(value: Any, memo: Mapping[int, Any], seen: set[int]) -> bool:
    """Whether ``value`` is, or leads through functions to, what was copied or what a function may write into."""
    if id(value) in seen:
        return False
    seen.add(id(value))
    if isinstance(value, MethodType):
        return isinstance(value.__self__, nn.Module) and id(value.__self__) in memo
    if isinstance(value, partial):
        return any(_holds(part, memo, seen) for part in (value.func, *value.args, *value.keywords.values()))
    if isinstance(value, FunctionType):
        return any(_holds(part, memo, seen) for part in _held(value))
    return isinstance(value, dict | list) or (isinstance(value, nn.Module | Tensor) and id(value) in memo)


def _held(function: FunctionType) -> Iterator[Any]:
    """What the closure and the default arguments of ``function`` hold."""
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # a name that is not bound yet
            yield cell.cell_contents
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()


def _rebound(function: FunctionType, memo: dict[int, Any]) -> FunctionType:
    """``function``, holding copies where it holds what was copied."""
    if id(function) in memo:
        return memo[id(function)]  # type: ignore[no-any-return]

    def copied(value: Any) -> Any:
        if not _holds(value, memo, set()):
            return value
        return _rebound(value, memo) if isinstance(value, FunctionType) else copy.deepcopy(value, memo)

    cells = tuple(CellType() for _ in function.__closure__ or ())
    made = FunctionType(function.__code__, function.__globals__, function.__name__, None, cells)
    memo[id(function)] = made
    update_wrapper(made, function)
    del vars(made)["__wrapped__"]
    made.__defaults__ = tuple(copied(value) for value in function.__defaults__ or ()) or None
    made.__kwdefaults__ = {name: copied(value) for name, value in (function.__kwdefaults__ or {}).items()}
    for cell, old in zip(cells, function.__closure__ or (), strict=True):
        with suppress(ValueError):
            cell.cell_contents = copied(old.cell_contents)
    return made


def _of_torch(function: FunctionType) -> bool:
    """Whether PyTorch made the function: torch.compile keeps closures of its own, which copies may share."""
    return str(function.__globals__.get("__name__", "")).partition(".")[0] == "torch"
