"""Parts of a model by module path: what a layer-wise budget holds for."""

from __future__ import annotations

from collections.abc import Iterable

from lzero.errors import BudgetError
from lzero.plan.paths import covers
from lzero.plan.plan import Plan


def layers(plan: Plan, *, consumers: bool = False, within: str = "") -> list[str]:
    """Paths of the modules whose weight a product or convolution reads and that gates can shrink, in model order.

    Args:
        plan: of the model.
        consumers: only those whose weights gates multiply: the layers that have gates of their own to count.
        within: only those at or below this module.
    """
    gated = {m.tensor for group in plan.groups for m in (group.consumers if consumers else group.members)}
    if not consumers:
        gated |= {tensor for group in plan.groups for block in group.blocks for tensor in block.tensors}
    paths = [name.rpartition(".")[0] for name in plan.shapes if name in plan.positions and name in gated]
    return [path for path in dict.fromkeys(paths) if covers(within, path)]


def check_paths(what: str, paths: Iterable[str], plan: Plan, *, consumers: bool = False) -> None:
    """Each of ``paths`` leads to one of :func:`layers`; with ``consumers`` perhaps to a block with a gate as a whole.

    Args:
        what: the beginning of the message.
        paths: module paths.
        plan: of the model.
        consumers: as for :func:`layers`.

    Raises:
        BudgetError: one does not; the message begins with ``what`` and lists the layers.
    """
    known = layers(plan, consumers=consumers)
    if consumers:
        known += [block.path for group in plan.groups for block in group.blocks]
    for path in paths:
        if not any(covers(path, layer) for layer in known):
            raise BudgetError(f"{what}: no gated layer at {path!r}; the gated layers are {', '.join(known)}")
