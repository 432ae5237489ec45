"""Where in a model its forward is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle


class ModulePath:
    """The path of the submodule whose forward is running in ``model``, kept by hooks on it (``""`` is the root)."""

    def __init__(self, model: nn.Module) -> None:
        self._stack: list[str] = []
        self.entered: set[str] = set()  # until the next reset
        self._hooks: list[RemovableHandle] = []
        for path, module in model.named_modules():
            self._hooks.append(module.register_forward_pre_hook(self._entering(path)))
            self._hooks.append(module.register_forward_hook(self._leaving(path)))

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

    def remove(self) -> None:
        """Take the hooks off the model."""
        for hook in self._hooks:
            hook.remove()

    def reset(self) -> None:
        """Forget earlier forwards, and one that failed."""
        self._stack.clear()
        self.entered.clear()
