"""What a user passes to a trainer of gates, looked at before anything is built on it."""

from __future__ import annotations

from lzero.checks import shown
from lzero.errors import SolverError
from lzero.gates.gates import Gates


def checked_gates(who: str, gates: object) -> Gates:
    """``gates`` where they are gates.

    Raises:
        SolverError: anything else, a model with gates among it.
    """
    if isinstance(gates, Gates):
        return gates
    raise SolverError(f"{who}: expected the Gates that lzero.attach_gates returned, found {shown(gates)}")


def scale_of(scaler: object) -> float:
    """The factor that a GradScaler multiplies the loss by.

    Raises:
        SolverError: no GradScaler.
    """
    get_scale = getattr(scaler, "get_scale", None)
    if not callable(get_scale):
        raise SolverError(f"scaler: expected a torch.amp.GradScaler, found {shown(scaler)}")
    return float(get_scale())
