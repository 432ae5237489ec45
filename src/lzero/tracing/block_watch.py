"""What modules do to the tensor that they are called with: whether they add to it, and what they add."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lzero._torch import EagerDispatchMode, version
from lzero.host.first_tensor import first_tensor
from lzero.plan.paths import covers
from lzero.plan.refusal import Reason
from lzero.tracing.tensor_table import storage_pointer

_SUMS = (torch.ops.aten.add, torch.ops.aten.add_, torch.ops.aten.sub, torch.ops.aten.sub_)
_TWICE = Reason("it runs more than once in a forward, and one gate would close all of its calls")
_NO_TENSOR = Reason(
    "it gives back neither a tensor nor a tuple that begins with one", "let the block return its stream, first"
)
_UNLIKE = Reason("it adds to what it is called with, and gives back a tensor of another shape or dtype")
_IN_PLACE = Reason(
    "it writes into the very tensor that it is called with, which a closed block would have to give back as it was",
    "write x = x + branch(x) in place of x += branch(x)",
)


@dataclass
class _Call:
    """One call of a module, as far as it has gone.

    Attributes:
        path: of the module.
        given: the first tensor that it was called with.
        sums: the memory of that, and of the sums on it so far.
        before: the version of ``given`` when the call began.
        branches: paths of the modules whose results were added.
        added: whether anything was added.
    """

    path: str
    given: Tensor
    before: int
    sums: set[int] = field(default_factory=set)
    branches: list[str] = field(default_factory=list)
    added: bool = False


class BlockWatch(EagerDispatchMode):
    """A dispatch mode, with hooks, that follows what is added to what modules are called with."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.calls: dict[str, _Call] = {}
        self.returns: dict[str, int] = {}
        self._model, self._good, self._stack = model, dict[str, bool](), list[_Call | None]()
        self._reasons: dict[str, Reason] = {}
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

    def resembles(self, path: str) -> bool:
        """Whether the module at ``path`` adds to what it is called with, whatever else it does."""
        return self.adds(path) or path in self._reasons

    def why_not(self, path: str) -> Reason | None:
        """Why the module at ``path``, which adds to its input, is no block; None where it is one, or does not."""
        return self._reasons.get(path)

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
                call.added = True
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
            if self._good.get(path, False):
                self._reasons[path] = _TWICE
            call = None if given is None or path in self._good else _Call(path, given, version(given))
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
            whole = version(call.given) == call.before
            self._good[path] = like and whole and call.added
            if call.added and not self._good[path]:
                self._reasons[path] = _IN_PLACE if not whole else _NO_TENSOR if made is None else _UNLIKE
            self.calls[path] = call

        return hook


def _result(output: Any) -> Tensor | None:
    """The tensor that a module returns, alone or at the head of a tuple; None where it returns something else."""
    if isinstance(output, tuple) and output:
        output = output[0]
    return output if isinstance(output, Tensor) and output.is_floating_point() else None
