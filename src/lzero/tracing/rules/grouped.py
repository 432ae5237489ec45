"""Products in groups: rows sorted by expert, and a matrix for every expert; offsets say where its rows end."""

from __future__ import annotations

import math

from torch import Tensor

from lzero.tracing.label import IntArray, fixed
from lzero.tracing.op_call import OpCall
from lzero.tracing.rules.linear import read
from lzero.tracing.rules.registry import rule

_BY_OFFSETS = "experts are told apart by offsets among the rows"
_ALIGNED = 8  # elements: rows of 16 bytes in half precision, which the kernel asks for


@rule("aten._grouped_mm", "transformers.grouped_mm_fallback")
def grouped_mm(call: OpCall) -> None:
    """A product for each expert e, whose rows, columns or terms are a stretch of a dim, or which has a matrix.

    [S, K] @ [E, K, N] -> [S, N]; [E, M, K] @ [K, S] -> [M, S]; [M, S] @ [S, N] -> [E, M, N], S cut at the offsets; and
    [E, M, K] @ [E, K, N] -> [E, M, N]. The kernel takes matrices whose rows are whole multiples of 16 bytes: where a
    unit may leave a row, it leaves with the others of its 16 bytes.
    """
    left, right = ("self", "mat2") if "mat2" in call.arguments else ("input", "weight")
    a, b, out = call.axes(left), call.axes(right), call.outputs[0]
    for name in (left, right):
        _align(call, call[name], call.axes(name))
    stretched = [labels for axes in (a, b) if len(axes) == 3 for labels in axes[:1]]
    if len(a) == len(b) == 2:
        stretched += [a[1], b[0]]
        macs = call[left].numel() * b[1].size
    else:
        read(call, left, a[-1], right, b[-2])
        stretched += [a[0]] if len(a) < len(b) else [b[1]] if len(a) > len(b) else []
        macs = out.numel() * a[-1].size
    for labels in stretched:
        call.freeze(labels, _BY_OFFSETS, "gate the units inside of the experts")
    for name in (left, right):
        call.count(name, macs)
    made = [a[-2], b[-1]]
    if isinstance(call.get("bias"), Tensor):
        made[1] = call.unify(made[1], call.axes("bias")[-1])
    call.set_output([*fixed((out.shape[0],)), *made] if out.dim() == 3 else made)


def _align(call: OpCall, matrix: Tensor, axes: tuple[IntArray, ...]) -> None:
    """Tie the labels along the rows of ``matrix``, as they lie in memory, in stretches that keep rows aligned."""
    dim = -1 if matrix.stride(-1) == 1 else -2
    labels = axes[dim]
    block = math.gcd(labels.size, _ALIGNED)
    if labels.any() and block > 1:
        call.unify_rows(labels.reshape(-1, block))
