"""The way back from a gated model to the user's own plain one."""

from __future__ import annotations

import torch
from torch import nn

from lzero.errors import StructureError
from lzero.host.wrappers import check_unsharded, unwrap
from lzero.surgery.attached import draws, factors, require_gates
from lzero.surgery.remove import strip


@torch.no_grad()
def detach_gates(model: nn.Module) -> nn.Module:
    """``model`` itself, plain again: it gives what it gave in eval mode, closed units zeroed, every shape as it was.

    Evaluation gates are multiplied into the weights that they stood on, so that attaching and detaching leaves the
    weights as they were, to rounding. For the smaller network see :func:`lzero.purge`.

    Args:
        model: a model with gates attached, or a module around one; also one inside DistributedDataParallel,
            ``torch.compile`` or ``AveragedModel``, of which the part that was wrapped is returned.

    Raises:
        StructureError: ``model`` has no gates, is a part of the model that has, or is sharded over processes.
    """
    model = unwrap(model)
    gates = require_gates(model)
    check_unsharded(model, "detach_gates")
    z = gates.evaluate(gates.open_mask())
    root = next((module for module in model.modules() if draws(module, gates)), None)
    if root is None:
        raise StructureError(
            f"{type(model).__name__}: is a part of the model that its gates were attached to; detach them from the "
            "module that attach_gates was given"
        )
    for tensor, factor in factors(root, z):
        tensor.mul_(factor)
    strip(root, gates)
    return model
