"""Systems of equations: the unknowns of one are mixed, the systems of a batch and the right sides are not."""

from __future__ import annotations

from lzero.tracing.label import IntArray, fixed
from lzero.tracing.op_call import OpCall
from lzero.tracing.rules.registry import rule

_MIXED = "a system of equations mixes all its unknowns"


@rule("aten.linalg_solve_triangular")
def solve_triangular(call: OpCall) -> None:
    """X of A X = B, or of X A = B: A [..., n, n] and B [..., n, k], or [..., k, n]; batches broadcast."""
    a, b, out = call.axes("self"), call.axes("B"), call.outputs[0]
    unknown = -2 if call["left"] else -1
    for labels in (*a[-2:], b[unknown]):
        call.freeze(labels, _MIXED)
    call.set_output([*_batch(call, a[:-2], b[:-2], tuple(out.shape[:-2])), *b[-2:]])


@rule("aten.linalg_inv_ex")
def inverse(call: OpCall) -> None:
    """The inverse of every matrix [..., n, n] of a batch, and what went wrong with it."""
    axes = call.freeze_dims(call.axes("A"), (-2, -1), _MIXED)
    call.set_output(axes, call.outputs[0])
    call.set_output(fixed(tuple(call.outputs[1].shape)), call.outputs[1])


def _batch(
    call: OpCall, one: tuple[IntArray, ...], two: tuple[IntArray, ...], shape: tuple[int, ...]
) -> list[IntArray]:
    """Labels of the batch dims of ``shape`` that two tensors are broadcast to."""
    met: list[IntArray | None] = [None] * len(shape)
    for axes in (one, two):
        for dim, labels in enumerate(axes, start=len(shape) - len(axes)):
            if labels.size != shape[dim]:
                call.freeze(labels, "one unit is spread over many")
            else:
                before = met[dim]
                met[dim] = labels if before is None else call.unify(before, labels)
    return [labels for labels in met if labels is not None]
