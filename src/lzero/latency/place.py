"""A forward timed in place: how long it is in each layer, and behind it until the next one begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from lzero.host.module_path import ModulePath
from lzero.latency.timer import Call, Timer
from lzero.plan.plan import Plan


@dataclass
class Spans:
    """Seconds of one forward.

    Attributes:
        before: until the first layer begins.
        inside: path of a layer -> in it, but for other layers that lie in it.
        behind: path of a layer -> behind it, until the next one begins.
        calls: path of a layer -> how many times it is called.
    """

    before: float = 0.0
    inside: dict[str, float] = field(default_factory=dict)
    behind: dict[str, float] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """Of the forward."""
        return self.before + sum(self.inside.values()) + sum(self.behind.values())


class Stations:
    """Hooks on the layers of a model that note when its forward arrives at each and leaves it.

    Args:
        model: whose forwards are timed, until :meth:`remove`.
        paths: of the layers.
        timer: of its device.
    """

    def __init__(self, model: nn.Module, paths: Iterable[str], timer: Timer) -> None:
        self._timer, self._hooks = timer, list[RemovableHandle]()
        self._stack: list[str] = []
        self._spans, self._last = Spans(), 0.0
        self._where: tuple[str, bool] | None = None  # the layer that time goes to, and whether it is behind it
        for path in paths:
            module = model.get_submodule(path)
            self._hooks.append(module.register_forward_pre_hook(self._arriving(path)))
            self._hooks.append(module.register_forward_hook(self._leaving(path)))

    def spans(self, call: Call) -> Spans:
        """Those of the forward that ``call`` runs."""
        self._stack.clear()
        self._spans, self._where = Spans(), None
        self._last = self._timer.now()
        call()
        self._pass(self._timer.now())
        return self._spans

    def remove(self) -> None:
        """Take the hooks off the model."""
        for hook in self._hooks:
            hook.remove()

    def _pass(self, now: float) -> None:
        past = now - self._last
        if self._where is None:
            self._spans.before += past
            return
        path, behind = self._where
        table = self._spans.behind if behind else self._spans.inside
        table[path] = table.get(path, 0.0) + past

    def _arriving(self, path: str) -> Any:
        def hook(module: nn.Module, args: Any) -> None:
            self._pass(self._timer.now())
            self._stack.append(path)
            self._where = (path, False)
            self._spans.calls[path] = self._spans.calls.get(path, 0) + 1
            self._last = self._timer.now()

        return hook

    def _leaving(self, path: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            self._pass(self._timer.now())
            while self._stack and self._stack.pop() != path:  # a caught exception leaves deeper paths behind
                pass
            self._where = (self._stack[-1], False) if self._stack else (path, True)
            self._last = self._timer.now()

        return hook


def layers_in(model: nn.Module, plan: Plan, call: Call) -> Mapping[str, tuple[str, ...]]:
    """The modules whose forwards compute with weights, and the names of these in ``plan``, in the order of the model.

    Of a weight whose own module is never called (a part of PyTorch's attention) it is the one around that is.
    """
    where = ModulePath(model)
    try:
        call()
    finally:
        where.remove()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found: dict[str, dict[str, None]] = {}
    for path, module in model.named_modules():
        for parameter in module._parameters.values():
            name = "" if parameter is None else names[id(parameter)]
            if name not in plan.positions or type(module) is nn.Embedding:  # a table that a head is tied to
                continue
            at = path
            while at and at not in where.entered:
                at = at.rpartition(".")[0]
            found.setdefault(at, {})[name] = None
    return {path: tuple(held) for path, held in found.items()}
