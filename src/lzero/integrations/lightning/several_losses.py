"""Gates where several losses and optimizers meet in one loop: they have the gradients that their weights have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from lzero.gates.gates import Gates
from lzero.surgery.attached import gated_leaves, ungated


class SeveralLosses:
    """What clears the gradients of weights clears that of their gates, and what freezes weights freezes their gates.

    Gates are no parameters: ``optimizer.zero_grad()`` does not reach them, nor does freezing the weights of one network
    while another one is trained through it, as adversarial trainings do.

    Args:
        model: with gates attached.
        gates: its gates.
        optimizers: of the loop.
    """

    def __init__(self, model: nn.Module, gates: Gates, optimizers: Iterable[Any]) -> None:
        self._gates = gates
        weights = [ungated(module, leaf) for module in model.modules() for leaf in gated_leaves(module)]
        self._weights = [weight for weight in weights if weight.requires_grad]
        bare = [bare_optimizer(optimizer) for optimizer in optimizers]
        ids = {id(weight) for weight in self._weights}
        holding = [one for one in bare if any(id(p) in ids for group in one.param_groups for p in group["params"])]
        self._optimizers, self._several = holding or bare, len(bare) > 1
        self._kept: Tensor | None = None

    def moves(self, optimizer: Any) -> bool:
        """Whether ``optimizer`` holds weights that gates multiply, or none does."""
        return any(bare_optimizer(optimizer) is one for one in self._optimizers)

    @property
    def frozen(self) -> bool:
        """Whether all the weights that are trained are frozen for the while."""
        return bool(self._weights) and not any(weight.requires_grad for weight in self._weights)

    def before_backward(self) -> None:
        """Clear the gradient of the gates where that of their weights was, and remember it where they are frozen."""
        log_alpha, self._kept = self._gates.log_alpha, None
        if log_alpha.grad is None or not self._weights:
            return
        if self.frozen:
            self._kept = log_alpha.grad.clone()
            return
        left = [weight.grad for weight in self._weights if weight.grad is not None]
        if not left:
            log_alpha.grad = None
        elif self._several:  # zero_grad(set_to_none=False): looked at where the gradients are
            log_alpha.grad.masked_fill_(~torch.stack([grad.any() for grad in left]).any(), 0)

    def after_backward(self) -> bool:
        """Take back what a backward has given to gates of frozen weights.

        Returns:
            Whether the gates have a gradient of this backward.
        """
        if self.frozen:
            self._gates.log_alpha.grad = self._kept
            return False
        return True


def bare_optimizer(optimizer: Any) -> Any:
    """The optimizer of the user inside a wrapper of Lightning."""
    return getattr(optimizer, "optimizer", optimizer)
