"""What running a stranger's model needs: its tensors, the path of what runs, and quiet random numbers."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor nested in tuples, lists, sets, mappings, dataclasses and plain objects, in order."""
    yield from _walk(value, set())


def _walk(value: Any, seen: set[int]) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
        return
    if value is None or id(value) in seen or isinstance(value, str | bytes | int | float | complex | type | nn.Module):
        return
    seen.add(id(value))
    if isinstance(value, Mapping):
        children = list(value.values())
    elif isinstance(value, tuple | list | set | frozenset):
        children = list(value)
    elif is_dataclass(value):
        children = [getattr(value, field.name) for field in fields(value)]
    else:
        children = list(getattr(value, "__dict__", {}).values())
    for child in children:
        yield from _walk(child, seen)


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """``value`` with ``change`` applied to every tensor that :func:`tensors_in` finds; containers are new, of one kind.

    What cannot be copied stays as it is.
    """
    return _map(value, change, {})


def _map(value: Any, change: Callable[[Tensor], Tensor], done: dict[int, Any]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # a named tuple takes its fields one by one
        return type(value)(*(_map(item, change, done) for item in value))
    if type(value) in (tuple, list, set, frozenset):
        return type(value)(_map(item, change, done) for item in value)
    if next(tensors_in(value), None) is None:
        return value
    if isinstance(value, Mapping) and not hasattr(value, "__setitem__"):
        return {key: _map(item, change, done) for key, item in value.items()}
    try:
        made = done[id(value)] = copy.copy(value)
    except Exception:
        return value
    if isinstance(value, Mapping):
        for key, item in value.items():
            made[key] = _map(item, change, done)
        return made
    names = [field.name for field in fields(value)] if is_dataclass(value) else list(getattr(value, "__dict__", ()))
    for name in names:
        object.__setattr__(made, name, _map(getattr(value, name), change, done))  # a dataclass may be frozen
    return made


def state_of(model: nn.Module) -> list[tuple[Any, int]]:
    """Everything but parameters that the modules of ``model`` hold, with its version, for :func:`same_state`."""
    found = list[tuple[Any, int]]()
    for module in model.modules():
        held = {name: value for name, value in vars(module).items() if name not in ("_parameters", "_modules")}
        found += [(value, len(value) if isinstance(value, list | dict) else 0) for value in held.values()]
        found += [(tensor, 0 if tensor.is_inference() else tensor._version) for tensor in tensors_in(held)]
    return found


def same_state(one: Sequence[tuple[Any, int]], two: Sequence[tuple[Any, int]]) -> bool:
    """Whether a forward between the two left the modules as they were."""
    return len(one) == len(two) and all(a is b and m == n for (a, m), (b, n) in zip(one, two, strict=True))


class ModulePath:
    """The path of the submodule whose forward is running in ``model``, kept by hooks on it (``""`` is the root)."""

    def __init__(self, model: nn.Module) -> None:
        self._stack: list[str] = []
        self.entered: set[str] = set()  # until the next reset
        for path, module in model.named_modules():
            module.register_forward_pre_hook(self._entering(path))
            module.register_forward_hook(self._leaving(path))

    @property
    def current(self) -> str:
        """The innermost running submodule; after a failure, the one that failed."""
        return self._stack[-1] if self._stack else ""

    def _entering(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any) -> None:
            self._stack.append(path)
            self.entered.add(path)

        return hook

    def _leaving(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            while self._stack and self._stack.pop() != path:  # a caught exception leaves deeper paths behind
                pass

        return hook

    def reset(self) -> None:
        """Forget earlier forwards, and one that failed."""
        self._stack.clear()
        self.entered.clear()


@contextmanager
def isolated_random_state(model: nn.Module, seed: int = 0) -> Iterator[None]:
    """A context in which random draws start from ``seed`` and after which every generator is as it was before.

    The global generators of PyTorch, NumPy and Python: forwards draw from all of them.
    """
    tensors = (*model.parameters(), *model.buffers())
    devices = sorted({tensor.get_device() for tensor in tensors if tensor.is_cuda})
    python, numpy = random.getstate(), np.random.get_state(legacy=False)
    try:
        with torch.random.fork_rng(devices=devices):
            # torch.manual_seed would also reseed devices that are not forked here.
            torch.default_generator.manual_seed(seed)
            for device in devices:
                torch.cuda.default_generators[device].manual_seed(seed)
            random.seed(seed)
            with suppress(TypeError):  # NumPy cannot seed a bit generator that the user has put in place of its own
                np.random.seed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def unfused() -> Iterator[None]:
    """A context in which everything runs op by op; then all is as before.

    Whole layers (attention, LSTM) are taken apart, compiled modules run their eager forward, and inference mode is off.
    """
    fast, packed = torch.backends.mha.get_fastpath_enabled(), torch._C._get_mkldnn_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    torch._C._set_mkldnn_enabled(False)
    try:
        with torch.inference_mode(False), _eager():
            yield
    finally:
        torch._C._set_mkldnn_enabled(packed)
        torch.backends.mha.set_fastpath_enabled(fast)


def _eager() -> AbstractContextManager[Any]:
    """Compiled modules run as they were written; where nothing was compiled, torch's compiler is not even loaded."""
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    eager: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return eager
