"""The way back from a gated model to the user's own plain one."""

from __future__ import annotations

import torch
from torch import nn

from lzero.host.wrappers import check_unsharded, unwrap
from lzero.surgery.attached import factors, require_gates
from lzero.surgery.remove import strip


@torch.no_grad()
def detach_gates(model: nn.Module) -> nn.Module:
    """``model`` itself, plain again: it gives what it gave in eval mode, closed units zeroed, every shape as it was.

    Evaluation gates are multiplied into the weights that they stood on, so that attaching and detaching leaves the
    weights as they were, to rounding. For the smaller network see :func:`lzero.purge`.

    Args:
        model: a model with gates attached; also one inside DistributedDataParallel, ``torch.compile`` or
            ``AveragedModel``, of which the part that was wrapped is returned.

    Raises:
        StructureError: ``model`` has no gates, or is sharded over processes.
    """
    model = unwrap(model)
    gates = require_gates(model)
    check_unsharded(model, "detach_gates")
    z = gates.evaluate(gates.open_mask())
    for tensor, factor in factors(model, z):
        tensor.mul_(factor)
    strip(model, gates)
    return model
