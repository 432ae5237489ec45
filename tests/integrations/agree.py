"""Whether the processes of ``torch.distributed`` hold the same."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, distributed


def everywhere(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is the same in all processes, to the bit."""
    found: list[dict[str, Tensor]] = [{} for _ in range(distributed.get_world_size())]
    distributed.all_gather_object(found, {name: tensor.detach().clone() for name, tensor in state.items()})
    return all(same(found[0], other) for other in found[1:])


def same(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
