"""The way back from a gated model to the user's own plain one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lzero.errors import StructureError
from lzero.gates.gates import Gates
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

    Example:
        >>> import lzero
        >>> from torch import nn, zeros
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
        >>> gates = lzero.attach_gates(model, zeros(1, 8))
        >>> lzero.gates_of(lzero.detach_gates(model)) is None
        True

    Raises:
        StructureError: ``model`` has no gates, is a part of the model that has, or is sharded over processes; or a unit
            is closed that a norm takes statistics of, which no plain norm of the old width can leave out, or a whole
            block or expert.
    """
    model = unwrap(model)
    gates = require_gates(model)
    check_unsharded(model, "detach_gates")
    open_ = gates.open_mask()
    _check_closed(gates, open_)
    z = gates.evaluate(open_)
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


def _check_closed(gates: Gates, open_: Tensor) -> None:
    for group in gates.plan.groups:
        if bool(open_[gates.slices[group.name]].all()):
            continue
        if group.router is not None or group.blocks:
            raise StructureError(
                f"{group.name}: whole {'experts' if group.router else 'blocks'} of it are closed, and the model cannot "
                "leave them out without gates; call lzero.purge(model) for a model without them"
            )
        if group.norms:
            raise StructureError(
                f"{group.norms[0].path}: normalises over units of {group.name} that are closed, and of its full width "
                "it cannot leave them out without gates; call lzero.purge(model) for a model without these units"
            )
