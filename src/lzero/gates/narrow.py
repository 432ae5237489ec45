"""Fewer gates than there were: those of units that have left the model while it trains."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lzero.gates.drawing import Drawing
from lzero.gates.gates import Gates
from lzero.gates.ledger import OPTIMIZER
from lzero.gates.masks import Masks
from lzero.gates.whole import Whole
from lzero.host.resize import resize
from lzero.plan.plan import Plan


@torch.no_grad()
def narrow(gates: Gates, plan: Plan, keep: Tensor, whole: Whole) -> None:
    """Let ``gates`` be those of ``plan``, what ``keep``, bool [G], leaves of them; ``log_alpha`` stays one tensor.

    A gradient that waits for a step is cut alike, and so is what is held. A trainer that holds the gates sees at its
    next step what has left.
    """
    held = gates.held
    where = keep.nonzero().squeeze(1).to(gates.log_alpha.device)
    drawing = Drawing(gates.estimator, plan.flat_sizes, gates.per_example)
    drawing.history = gates.drawing.history
    drawing.hold(None if held is None else held[where].clone())
    gates.plan, gates.slices, gates.sizes = plan, dict(plan.slices), plan.flat_sizes
    gates.masks, gates.drawing = Masks(gates.sizes, plan.owners, [*plan.steps.values()]), drawing
    gates.masks.to(gates.log_alpha.device)
    gates.whole = replace(whole, numbers=whole.numbers[keep.cpu()])
    resize(gates.log_alpha, lambda values: values[..., where].contiguous())


@torch.no_grad()
def narrow_ledger(gates: Gates, keep: Tensor) -> None:
    """Cut what the ledger of ``gates`` has of their optimizer by ``keep``, bool [G], as many as there were."""
    where = keep.nonzero().squeeze(1)

    def cut(name: str, value: Tensor) -> Tensor:
        each = name.startswith(OPTIMIZER) and value.shape[-1:] == keep.shape
        return value[..., where.to(value.device)].clone() if each else value

    gates.ledger.change(cut)
