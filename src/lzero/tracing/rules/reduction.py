"""Ops that mix all indices of a dim: sums, means, maxima, softmax, sorting. A unit in such a dim is read unweighted."""

from __future__ import annotations

from torch import Tensor

from lzero.tracing.label import Axes, fixed
from lzero.tracing.norm_call import Part
from lzero.tracing.op_call import OpCall, dims_of
from lzero.tracing.rules.pointwise import elementwise
from lzero.tracing.rules.registry import rule
from lzero.tracing.rules.zeros import with_self

_MIXES = "the op mixes all units of the dim"
_STANDARDISED = (
    "a weight that is standardised or normed in the forward counts its closed inputs too: keep the finished weight as "
    "the parameter (fold it), or gate other layers"
)
_ADVICES = {
    "aten.mean": "a mean divides by the number of all units, closed or not; reduce after a layer with weights instead",
    "aten.amax": "the largest may be a closed unit's; reduce after a layer with weights instead",
    "aten.amin": "the smallest may be a closed unit's; reduce after a layer with weights instead",
}
for _op in ("aten.var", "aten.std", "aten.var_mean", "aten.std_mean", "aten.norm", "aten.linalg_vector_norm"):
    _ADVICES[_op] = "a closed unit would still count in the norm or statistic; normalise each unit alone instead"
_ADVICE = "a closed unit would still count here; reduce after a layer with weights instead"
_NORM = '; where it belongs to a norm that is a module of its own, granularity="width" gates them'
_ALONE = "a closed unit would still count in the normalisation; weigh every unit alone instead (by a sigmoid)"


@rule("aten.sum", "aten.mean", zeros=with_self)
@rule(
    "aten.nansum",
    "aten.prod",
    "aten.amax",
    "aten.amin",
    "aten.aminmax",
    "aten.max",
    "aten.min",
    "aten.argmax",
    "aten.argmin",
    "aten.median",
    "aten.nanmedian",
    "aten.mode",
    "aten.var",
    "aten.std",
    "aten.var_mean",
    "aten.std_mean",
    "aten.norm",
    "aten.linalg_vector_norm",
    "aten.logsumexp",
    "aten.all",
    "aten.any",
    "aten.count_nonzero",
)
def reduction(call: OpCall) -> None:
    """Reduced dims freeze; the others keep their labels."""
    if isinstance(call.get("other"), Tensor):
        return elementwise(call)  # max and min of two tensors
    axes = call.axes("self" if "self" in call.arguments else "input")
    reduced = dims_of(call.get("dim"), len(axes))
    part = _part(call)
    if part and call.normalises(part, "self", reduced, _MIXES, _ADVICE):
        pass
    elif call.op == "aten.sum":
        for dim in reduced:
            call.sum_over(axes[dim], "self", why=_MIXES, advice=_ADVICE)
    else:
        name = call.computed("self" if "self" in call.arguments else "input")
        if name:
            call.freeze_dims(axes, reduced, f"{_MIXES}, all that one output of {name} reads", _STANDARDISED)
        else:
            call.freeze_dims(axes, reduced, _MIXES, _ADVICES.get(call.op, _ADVICE) + (_NORM if part else ""))
    for out in call.outputs:
        call.set_output(_remaining(axes, reduced, keep=out.dim() == len(axes)), out)


def _part(call: OpCall) -> Part:
    """What the op takes of a norm that is written by hand, empty for what no norm takes."""
    if call.op == "aten.mean":
        return "mean of squares" if call.is_square("self") else "mean"
    if call.op == "aten.sum":
        return "length" if call.is_square("self") else ""
    if call.op in ("aten.var", "aten.var_mean") and (call.get("correction") == 0 or call.get("unbiased") is False):
        return "variance"
    return "length" if call.op == "aten.linalg_vector_norm" and call["ord"] == 2 else ""


def _remaining(axes: Axes, reduced: list[int], *, keep: bool) -> Axes:
    kept = [fixed((1,))[0] if dim in reduced else labels for dim, labels in enumerate(axes)]
    return tuple(kept) if keep else tuple(labels for dim, labels in enumerate(kept) if dim not in reduced)


@rule(
    "aten._softmax",
    "aten._safe_softmax",
    "aten._log_softmax",
    "aten.cumsum",
    "aten.cumprod",
    "aten.cummax",
    "aten.cummin",
    "aten.logcumsumexp",
    "aten.sort",
    "aten.argsort",
    "aten.roll",
)
def along_dim(call: OpCall) -> None:
    """The dim that the op runs along freezes and keeps its size."""
    axes = call.axes("self")
    dims = dims_of(call.get("dim") if "dim" in call.arguments else call.get("dims"), len(axes))
    call.freeze_dims(axes, dims, _MIXES, _ALONE if "softmax" in call.op else _ADVICE)
    for out in call.outputs:
        call.set_output(axes, out)


@rule("aten.topk", "aten.kthvalue")
def selection(call: OpCall) -> None:
    """The dim that is searched freezes; what is found there is fixed."""
    axes = list(call.axes("self"))
    searched = dims_of(call["dim"], len(axes))
    call.freeze_dims(axes, searched, "the op compares all units of the dim", _ADVICE)
    for out in call.outputs:
        if out.dim() < len(axes):
            call.set_output(_remaining(tuple(axes), searched, keep=False), out)
        else:
            call.set_output([fixed((n,))[0] if d in searched else axes[d] for d, n in enumerate(out.shape)], out)
