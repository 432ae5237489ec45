"""The order of parameters: those of a module that was parametrized come back in another one."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn


def restore_order(model: nn.Module, names: Iterable[str]) -> None:
    """``model`` with the parameters of every module in the order in which ``names`` (``Plan.shapes``) has them.

    Optimizers and state dicts go by that order. A parameter without a name there, a second alias of a
    tied one, comes first in its module: it is mostly weights that are tied, and they come before their biases.
    """
    place = {name: position for position, name in enumerate(names)}
    for path, module in model.named_modules():
        table = module._parameters
        ordered = sorted(table, key=lambda leaf: place.get(f"{path}.{leaf}" if path else leaf, -1))
        if ordered != list(table):
            held = dict(table)
            table.clear()
            table.update((leaf, held[leaf]) for leaf in ordered)
