"""Weight decay that knows the gates: the expected L2 norm of a gated model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lzero.surgery.attached import gated_leaves, gates_on, require_gates, ungated


def expected_l2(model: nn.Module) -> Tensor:
    """Half the expected squared norm of the weights of a gated ``model``, a scalar to add to the loss:

        1/2 sum_j p_j w_j^2

    over all parameters, where p_j is the product of P(z != 0) of the gates that multiply the weight w_j, and 1 where
    none does: on what only makes a unit, on biases, on normalisation. What a gate has closed is so not pulled to zero,
    and keeps the weights that it would open with. The gates are data: they get no gradient, and the gradient of w_j
    is p_j w_j. Tied parameters count once.

    Args:
        model: a model with gates attached.

    Example:
        >>> from lzero.attach import attach_gates
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
        >>> plain = sum(float((p.detach() ** 2).sum()) for p in model.parameters()) / 2
        >>> gates = attach_gates(model, torch.zeros(1, 8), open_probability=0.97)
        >>> bool(expected_l2(model) > 0.97 * plain)
        True

    Raises:
        StructureError: ``model`` has no gates.

    Source: Louizos, Welling, Kingma, arXiv 1712.01312 (the L0 norm combined with others; biases in full, as in their
    code); with the gates as data, as in the code of Li, Ji, arXiv 1904.04432.
    """
    gates = require_gates(model)
    probability = gates.probability().detach()
    total: Tensor = torch.zeros((), device=probability.device, dtype=probability.dtype)
    seen: set[int] = set()
    for module in model.modules():
        for leaf in gated_leaves(module):
            weight = ungated(module, leaf)
            if id(weight) not in seen:
                seen.add(id(weight))
                square = weight**2
                for gate in gates_on(module, leaf):
                    square = square * gate.factor(probability, square)
                total = total + square.sum().to(total)
    for parameter in model.parameters():
        if id(parameter) not in seen:
            total = total + (parameter**2).sum().to(total)
    return total / 2
