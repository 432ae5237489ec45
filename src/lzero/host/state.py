"""What a forward leaves behind in a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from lzero._torch import version
from lzero.host.tensors import tensors_in


def state_of(model: nn.Module) -> list[tuple[Any, int]]:
    """Everything but parameters that the modules of ``model`` hold, with its version, for :func:`same_state`."""
    found = list[tuple[Any, int]]()
    for module in model.modules():
        held = {name: value for name, value in vars(module).items() if name not in ("_parameters", "_modules")}
        found += [(value, len(value) if isinstance(value, list | dict) else 0) for value in held.values()]
        found += [(tensor, 0 if tensor.is_inference() else version(tensor)) for tensor in tensors_in(held)]
    return found


def same_state(one: Sequence[tuple[Any, int]], two: Sequence[tuple[Any, int]]) -> bool:
    """Whether a forward between the two left the modules as they were."""
    return len(one) == len(two) and all(a is b and m == n for (a, m), (b, n) in zip(one, two, strict=True))
