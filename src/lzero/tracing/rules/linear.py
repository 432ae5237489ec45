"""Matrix products: the contracted units are read by a parameter, the one place where a gate can multiply."""

from __future__ import annotations

from collections.abc import Sequence

from lzero.tracing.label import IntArray, fixed
from lzero.tracing.op_call import OpCall
from lzero.tracing.rules.registry import rule
from lzero.tracing.rules.zeros import with_a_batched_factor, with_term_and_batched_factor

_NO_PARAMETER = (
    "a product contracts over it in which neither side is a plain parameter",
    "only a plain parameter can read a gated unit: not an activation, a buffer, or a weight computed in the forward",
)
_COMPUTED = (
    "a closed unit would still count in a weight that is standardised, normed or generated: keep the finished weight "
    "as the parameter (fold it), or gate other layers"
)
_TWO_PARAMETERS = ("a product of two parameters contracts over it", "")


def read(call: OpCall, left: str, left_labels: IntArray, right: str, right_labels: IntArray) -> None:
    """Contract a dim of argument ``left`` with one of ``right``: exactly one of them must be a parameter as it is."""
    parameters = [name for name in (left, right) if call.source(name) is not None]
    if not parameters and (call.zeroing(left) or call.zeroing(right)):
        labels = call.unify(left_labels, right_labels)
        call.sum_over(labels, left, right, why=_NO_PARAMETER[0], advice=_NO_PARAMETER[1])
        return
    computed = next((name for side in (left, right) if not parameters and (name := call.computed(side))), "")
    if computed:
        for labels in (left_labels, right_labels):
            call.freeze(labels, f"the weight that reads it is computed from {computed} in every forward", _COMPUTED)
        return
    if len(parameters) != 1:
        for labels in (left_labels, right_labels):
            call.freeze(labels, *(_TWO_PARAMETERS if parameters else _NO_PARAMETER))
        return
    call.unify(left_labels, right_labels, "it reads features that no gate controls")
    call.consume(parameters[0], right_labels if parameters[0] == right else left_labels)


def count_product(call: OpCall, contracted: int, *names: str) -> None:
    """Count the multiply-accumulates of a product whose every output element sums ``contracted`` terms."""
    for name in names:
        call.count(name, call.outputs[0].numel() * contracted)


def with_bias(call: OpCall, axes: Sequence[IntArray]) -> list[IntArray]:
    """Output labels ``axes`` tied to those of the added argument ``self``, which may broadcast."""
    tied, added = list(axes), call.axes("self")
    for dim in range(-len(added), 0):
        if added[dim].size == axes[dim].size:
            tied[dim] = call.unify(axes[dim], added[dim])
        else:
            call.freeze(added[dim], "one unit is spread over many")
    return tied


@rule("aten.mm")
def mm(call: OpCall) -> None:
    """[n, k] @ [k, m]."""
    call.set_output(_product(call, "self", "mat2"))


@rule("aten.addmm")
def addmm(call: OpCall) -> None:
    """[n, m] + [n, k] @ [k, m]."""
    call.set_output(with_bias(call, _product(call, "mat1", "mat2")))


@rule("aten.bmm", zeros=with_a_batched_factor)
def bmm(call: OpCall) -> None:
    """[b, n, k] @ [b, k, m], a product for each b."""
    call.set_output(_product(call, "self", "mat2"))


@rule("aten.baddbmm", zeros=with_term_and_batched_factor)
def baddbmm(call: OpCall) -> None:
    """[b, n, m] + [b, n, k] @ [b, k, m]."""
    call.set_output(with_bias(call, _product(call, "batch1", "batch2")))


@rule("aten.mv")
def mv(call: OpCall) -> None:
    """[n, k] @ [k]."""
    call.set_output(_product(call, "self", "vec"))


@rule("aten.addmv")
def addmv(call: OpCall) -> None:
    """[n] + [n, k] @ [k]."""
    call.set_output(with_bias(call, _product(call, "mat", "vec")))


@rule("aten.dot", "aten.vdot")
def dot(call: OpCall) -> None:
    """[k] . [k]."""
    name = "tensor" if "tensor" in call.arguments else "other"
    read(call, "self", call.axes("self")[0], name, call.axes(name)[0])
    count_product(call, call.axes("self")[0].size, "self", name)
    call.set_output(())


def _product(call: OpCall, left: str, right: str) -> list[IntArray]:
    """Labels of ``left @ right``: leading dims meet, the last of ``left`` meets the first matrix dim of ``right``."""
    a, b = call.axes(left), call.axes(right)
    read(call, left, a[-1], right, b[-2] if len(b) > 1 else b[0])
    count_product(call, a[-1].size, left, right)
    batch = [call.unify(x, y) for x, y in zip(a[:-2], b[:-2], strict=True)] if len(b) > 2 else []
    return [*batch, a[-2], *b[-1:]] if len(b) > 1 else [a[-2]]


@rule("aten.embedding")
def embedding(call: OpCall) -> None:
    """Rows looked up by number: the vocabulary is fixed, the embedded dim stays free."""
    rows, features = call.axes("weight")
    call.freeze(rows, "rows are looked up by their number")
    call.set_output((*fixed(tuple(call["indices"].shape)), features))


@rule("aten._embedding_bag", "aten._embedding_bag_forward_only")
def embedding_bag(call: OpCall) -> None:
    """Bags of rows looked up by number, summed, averaged or maximised row by row: the embedded dim stays free."""
    rows, features = call.axes("weight")
    call.freeze(rows, "rows are looked up by their number")
    for out in call.outputs:
        bag = out.dim() == 2 and out.shape[1] == features.size
        call.set_output((fixed((out.shape[0],))[0], features) if bag else fixed(tuple(out.shape)), out)


@rule("aten._sparse_mm", "aten._sparse_addmm")
def sparse_mm(call: OpCall) -> None:
    """A sparse [n, k] that has no labels @ [k, m]: the columns stay free."""
    dense = call.axes("mat2" if "mat2" in call.arguments else "dense")
    call.freeze(dense[0], "a product with a sparse matrix contracts over it")
    made = (fixed((call.outputs[0].shape[0],))[0], dense[1])
    call.set_output(with_bias(call, made) if "mat2" in call.arguments else made)
