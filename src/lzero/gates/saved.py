"""What a state dict says of the training of gates, looked at before it is taken in."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lzero.errors import SolverError


def check_saved(state: Mapping[str, Tensor], gates: int, mine: Tensor | None) -> None:
    """Raise where ``state`` is not that of a training of so many ``gates``, or of another one than theirs.

    Args:
        state: the entries of a state dict, by name.
        gates: G.
        mine: what these gates are trained for; None where nobody trains them.

    Raises:
        SolverError: with both, and the way out.
    """
    wrong = [name for name, value in state.items() if not isinstance(value, Tensor)]
    held = state.get("held")
    if not wrong and held is not None and held.shape != (gates,):
        wrong = ["held"]
    if wrong:
        raise SolverError(
            f"the saved state of the training: {', '.join(wrong)} is not as it was saved; load the state dict of a "
            "model with the same gates, unchanged"
        )
    asked = state.get("asked")
    if asked is not None and mine is not None and not torch.equal(asked.cpu(), mine):
        theirs, ours = (bytes(text.tolist()).decode(errors="replace") for text in (asked, mine))
        raise SolverError(
            f"the saved gates were trained for {theirs}, these are trained for {ours}; build the Solver as it was, "
            "or load before it is built and give it fresh=True"
        )
