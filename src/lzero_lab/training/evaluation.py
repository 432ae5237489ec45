"""What is measured of a network: its error, and its operations."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lzero_lab import models
from lzero_lab.datasets import Dataset


def error(model: nn.Module, x: Tensor, y: Tensor, batch_size: int = 1000) -> float:
    """Share of wrong answers of ``model`` in eval mode, in [0, 1]."""
    return mistakes(model, x, y, batch_size) / len(x)


@torch.no_grad()
def mistakes(model: nn.Module, x: Tensor, y: Tensor, batch_size: int = 1000) -> int:
    """Number of wrong answers of ``model`` in eval mode."""
    training = model.training
    model.eval()
    wrong = sum(
        int((model(part).argmax(1) != truth).sum())
        for part, truth in zip(torch.split(x, batch_size), torch.split(y, batch_size), strict=True)
    )
    model.train(training)
    return wrong


def operations(model: nn.Module, x: Tensor) -> int:
    """Additions and multiplications of ``model``, left in eval mode, on ``x``; two make one MAC.

    Counted by PyTorch, apart from the library's own counts.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(x.to(next(model.parameters()).device))
    return int(counter.get_total_flops())


def whole_network(name: str, data: Dataset) -> nn.Module:
    """The network called ``name`` on the meta device, to be counted and not computed: no weights are drawn."""
    with torch.device("meta"):
        return models.build(name, data)


def share_of_operations(model: nn.Module, name: str, data: Dataset) -> float:
    """:func:`operations` of ``model`` on one image of ``data``, over those of the whole network called ``name``."""
    example = data.train_x[:1]
    return operations(model, example) / operations(whole_network(name, data), example)
