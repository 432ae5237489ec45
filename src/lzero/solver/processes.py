"""The processes of a training: one gradient of the gates, and one state of them, for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, distributed

from lzero.gates.gates import Gates


class Processes:
    """Those of a group of ``torch.distributed``; a single one where it is not initialised.

    Args:
        group: the process group; None for the default one.
    """

    def __init__(self, group: Any = None) -> None:
        self._group = group
        self._agreed: int | None = None  # how many state dicts had been loaded then

    def __len__(self) -> int:
        several = distributed.is_available() and distributed.is_initialized()
        return distributed.get_world_size(self._group) if several else 1

    def average(self, gradient: Tensor) -> None:
        """Put the mean over the processes into ``gradient``."""
        several = len(self)
        if several > 1:
            distributed.all_reduce(gradient, group=self._group)
            gradient.div_(several)

    def agree(self, gates: Gates) -> bool:
        """At the first step, and after a state dict was loaded: the gates and the state of one process for all.

        What ``torch.distributed.checkpoint`` loads from one process gives the others tensors that their model has, and
        leaves out the state of the training.

        Returns:
            Whether ``gates`` have been given another state, which waits in their ledger.
        """
        if self._agreed == gates.ledger.loads or len(self) < 2:
            return False
        first = 0 if self._group is None else distributed.get_global_rank(self._group, 0)
        distributed.broadcast(gates.log_alpha.data, first, group=self._group)
        state = {name: tensor.detach().cpu() for name, tensor in gates.training_state().items()}
        sent = [state]
        distributed.broadcast_object_list(sent, first, group=self._group)
        other = not _alike(sent[0], state)
        if other:
            gates.restore(sent[0])
        self._agreed = gates.ledger.loads
        return other


def _alike(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
