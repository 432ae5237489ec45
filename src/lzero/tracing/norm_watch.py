"""Watching the modules of a forward that may be norms: those that let the units of a stream through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from lzero.plan.refusal import Reason
from lzero.tracing.norm_call import NormCall, NormSite, first_tensor
from lzero.tracing.tensor_table import TensorTable

_TWICE = Reason("one norm is called on streams of different sizes")


class NormWatch:
    """The calls of every module without children that is ``wanted``, by hooks until ``remove()``.

    What such a module takes a statistic of is frozen when the call is over, unless it turns out to be a norm.

    Args:
        model: a private copy.
        table: where the call that runs is written down.
        wanted: whether units may pass the norm at a path.

    Attributes:
        sites: the norms that units pass, by path.
    """

    def __init__(self, model: nn.Module, table: TensorTable, wanted: Callable[[str], bool]) -> None:
        self._table = table
        self.sites = dict[str, NormSite]()
        self._names = {parameter: name for name, parameter in model.named_parameters()}
        self._hooks = []
        for path, module in model.named_modules():
            if not module._modules and wanted(path):
                self._hooks.append(module.register_forward_pre_hook(self._entering(path), with_kwargs=True))
                self._hooks.append(module.register_forward_hook(self._leaving))

    def remove(self) -> None:
        """Take the hooks off the model."""
        for hook in self._hooks:
            hook.remove()

    def _entering(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
            with self._table.bookkeeping():
                given = first_tensor(args, named)
                found = None if given is None else self._table.find(given)
                self._table.norm = None
                if found is not None:
                    held = module._parameters.items()  # one that the forward has put there has no name
                    leaves = {self._names[p]: leaf for leaf, p in held if p is not None and p in self._names}
                    self._table.norm = NormCall(path, module, found.axes, leaves)

        return hook

    def _leaving(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        call, self._table.norm = self._table.norm, None
        if call is None or call.module is not module or not call.reductions:
            return
        with self._table.bookkeeping():
            found = self._table.find(output) if isinstance(output, Tensor) else None
            site = call.site(None if found is None else found.axes)
            if isinstance(site, Reason):
                for reduction in call.reductions:
                    self._table.book.freeze_at(reduction.step, reduction.labels, site)
                return
            before = self.sites.setdefault(site.path, site)
            if before.labels.size != site.labels.size:
                self._table.book.freeze(before.labels, _TWICE)
                self._table.book.freeze(site.labels, _TWICE)
            else:
                self._table.book.unify(before.labels, site.labels, _TWICE)
