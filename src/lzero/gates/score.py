"""The gradient of gates whose estimator scores values of the loss."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from torch import Tensor

from lzero.checks import shown
from lzero.errors import StructureError
from lzero.gates.estimator import Estimator


def score_gradient(
    estimator: Estimator,
    log_alpha: Tensor,
    noise: Tensor | None,
    loss: Tensor | float | None,
    closure: Callable[[], Tensor | float] | None,
    opposite: Callable[[], AbstractContextManager[None]],
) -> Tensor:
    """The score of one forward, shaped as ``log_alpha``.

    Args:
        estimator: one that needs values of the loss.
        log_alpha: the gates' parameters.
        noise: of the forward; None where nothing was drawn.
        loss: of the forward.
        closure: computes that loss anew, for estimators that need two.
        opposite: a context in which forwards have the gates of the opposite noise.

    Raises:
        StructureError: a loss that the estimator needs was not given, or nothing was drawn.
    """
    needed, kind = estimator.losses, type(estimator).__name__
    if loss is None or (needed == 2 and not callable(closure)):
        call = "step(loss, closure)" if needed == 2 else "step(loss)"
        raise StructureError(
            f"{kind} gates get their gradient from {needed} values of the loss: call {call} with the loss of this "
            "forward" + (" and a function that computes it anew" if needed == 2 else "")
        )
    if noise is None:
        raise StructureError(f"{kind} gates: no draw to score; run the model's forward in train mode first")
    if closure is not None and not callable(closure):
        raise StructureError(f"closure: expected a function that computes the loss anew, found {shown(closure)}")
    value, other = _number("loss", loss), None
    if needed == 2 and closure is not None:
        with opposite():
            other = _number("closure", closure())
    return estimator.score(log_alpha, noise, value, other)


def _number(name: str, value: object) -> float:
    """The value of a loss, which may be NaN: such a step is skipped.

    Raises:
        StructureError: what is no single number.
    """
    if not isinstance(value, str | bytes | bool):
        try:
            return float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, RuntimeError, OverflowError):
            pass
    raise StructureError(f"{name}: expected the loss as one number, found {shown(value)}")
