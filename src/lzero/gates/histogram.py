"""Where the probabilities of many gates lie, as a few counts: whether the gates have made up their minds."""

from __future__ import annotations

import torch
from torch import Tensor

BINS = 20


@torch.no_grad()
def histogram(probability: Tensor) -> dict[str, int]:
    """Counts of P(z != 0) in :data:`BINS` equal bins of [0, 1], as columns ``p_00`` ... ``p_19``.

    Args:
        probability: of every gate, [G].
    """
    counts = torch.histc(probability.float(), bins=BINS, min=0.0, max=1.0).long().tolist()
    return {f"p_{number:02d}": count for number, count in enumerate(counts)}
