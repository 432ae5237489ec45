"""A clock that only layers move: a forward takes what a formula says, exactly."""

from __future__ import annotations

from contextlib import contextmanager

from torch import nn
from torch.nn.modules.module import register_module_forward_hook

Times = dict[type[nn.Module], object]


class Ticking:
    """Seconds that pass in the forwards of modules of some classes, by ``times``: class -> seconds of (module, x)."""

    def __init__(self, times):
        self.seconds, self._times = 0.0, times

    def __call__(self):
        return self.seconds

    def _pass(self, module, args, output):
        for kind, seconds in self._times.items():
            if type(module) is kind:
                self.seconds += seconds(module, args[0])

    @contextmanager
    def running(self):
        hook = register_module_forward_hook(self._pass)
        try:
            yield self
        finally:
            hook.remove()
