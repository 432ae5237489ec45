"""Forwards that put other modules in the place of some: what those hold is built again in a fresh copy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import nn

from lzero.plan.paths import covers
from lzero.plan.refusal import Reason
from lzero.tracing.tensor_table import TensorTable


def freeze_swapped(model: nn.Module, before: Mapping[str, nn.Module], table: TensorTable) -> tuple[str, ...]:
    """The paths at which ``model`` has other modules than ``before``; tensors below them freeze.

    What the forward builds of its own, the next fresh copy builds again, from numbers of its own.
    """
    after = dict(model.named_modules())
    changed = [path for path in {**before, **after} if before.get(path) is not after.get(path)]
    outermost = tuple(p for p in changed if not any(p != other and covers(other, p) for other in changed))
    for slot in table.book.slots:
        path = next((path for path in outermost if covers(path, slot.tensor)), None)
        if path is not None:
            reason = Reason(f"the forward puts another module in the place of {path}", _SWAPPED)
            table.book.freeze(np.arange(slot.start, slot.start + slot.size), reason)
    return outermost


_SWAPPED = (
    "let it do so before lzero.discover (run it once on such inputs; and once more after building it again, before "
    "load_purged), or choose between modules that both stay"
)
