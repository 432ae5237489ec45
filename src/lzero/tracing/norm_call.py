"""One call of a module that may be a norm: what it takes statistics of, and with which parameters it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor, nn

from lzero.plan.norm import Statistic
from lzero.plan.refusal import Reason
from lzero.surgery.ratios import is_eps
from lzero.tracing.label import Axes, IntArray

Part = str
"""What an op takes over a dim: ``"norm"`` and ``"rms"`` are whole norms, the others parts of one written by hand."""

_WHOLE: Mapping[frozenset[Part], Statistic] = {
    frozenset({"norm"}): "mean",
    frozenset({"rms"}): "square",
    frozenset({"mean of squares"}): "square",
    frozenset({"mean", "mean of squares"}): "mean",
    frozenset({"mean", "variance"}): "mean",
    frozenset({"variance"}): "mean",
    frozenset({"length"}): "length",
}
_NO_EPS = "keep the number that is added to the variance as an attribute (self.eps): it has to follow the width"
_NOTHING_ADDED = "add something to its variance, such as eps=1e-5: of a single open unit that is 0, and divides 0"


@dataclass(frozen=True, eq=False)
class Reduction:
    """A statistic over units with ``labels``.

    Attributes:
        part: what it is.
        labels: of the dim of the units.
        shape: of the tensor that it is taken of.
        over: dims of that tensor, from the end.
        channel_groups: as in :class:`lzero.plan.norm.Norm`.
        reason: why the units are refused where the module is no norm.
        step: of the op that takes it.
    """

    part: Part
    labels: IntArray
    shape: tuple[int, ...]
    over: tuple[int, ...]
    channel_groups: int
    reason: Reason
    step: int


@dataclass(frozen=True, eq=False)
class NormSite:
    """A module that normalises over units; the attributes are those of :class:`lzero.plan.norm.Norm`.

    Attributes:
        labels: of the dim of its input that the units lie on.
    """

    path: str
    labels: IntArray
    dim: int
    over: tuple[int, ...]
    channel_groups: int
    statistic: Statistic
    weight: str
    bias: str
    eps: str


@dataclass(eq=False)
class NormCall:
    """What the module at ``path`` has done so far with the tensor that it was given.

    Attributes:
        axes: labels of the tensor that it was given.
        leaves: its parameters, by their names in the model.
        reductions: the statistics that it has taken.
        weights, biases: its parameters that have been multiplied and added as they are.
    """

    path: str
    module: nn.Module
    axes: Axes
    leaves: Mapping[str, str]
    reductions: list[Reduction] = field(default_factory=list)
    weights: list[str] = field(default_factory=list)
    biases: list[str] = field(default_factory=list)

    def site(self, made: Axes | None) -> NormSite | Reason:
        """Where its units are and how they are normalised; why they may not be gated, where it is no such norm.

        ``made`` are the labels of the tensor that it returns, None where it returns anything else. Sizes are read off
        labels: those of tensors are watched.
        """
        first = self.reductions[0]
        alike = all(
            np.array_equal(r.labels, first.labels) and (r.over, r.channel_groups) == (first.over, first.channel_groups)
            for r in self.reductions
        )
        statistic = _WHOLE.get(frozenset(r.part for r in self.reductions))
        sizes = _sizes(self.axes)
        dim = self._dim(first)
        if statistic is None or not alike or dim is None or len(self.weights) > 1 or len(self.biases) > 1:
            return first.reason
        if made is None or _sizes(made) != sizes:
            return first.reason
        over = first.over if sizes == first.shape else (dim,)
        if over != first.over and len(first.over) > 1:
            return first.reason
        eps = self._eps()
        weight, bias = "".join(self.weights), "".join(self.biases)
        if statistic == "mean" and not eps:
            return replace(first.reason, advice=_NO_EPS)
        if statistic == "mean" and len(over) == 1 and not getattr(self.module, eps):
            return replace(first.reason, advice=_NOTHING_ADDED)
        if statistic == "length" or (statistic == "square" and not eps):
            weight = ""
        if statistic != "mean" and not weight:
            eps = ""
        where = dim % len(sizes) if first.channel_groups else dim
        return NormSite(self.path, self.axes[dim], where, over, first.channel_groups, statistic, weight, bias, eps)

    def _dim(self, reduction: Reduction) -> int | None:
        """The dim of the given tensor, from the end, that has the units of ``reduction``; None where two could."""
        dims = range(-len(self.axes), 0)
        same = [dim for dim in dims if np.array_equal(self.axes[dim], reduction.labels)]
        if not same:
            same = [dim for dim in dims if self.axes[dim].size == reduction.labels.size and self.axes[dim].any()]
        return same[0] if len(same) == 1 else None

    def _eps(self) -> str:
        """The attribute that is added to the variance: the only number of the module that is called so."""
        names = [name for name, value in vars(self.module).items() if is_eps(name, value)]
        return names[0] if len(names) == 1 else ""


def _sizes(axes: Axes) -> tuple[int, ...]:
    return tuple(labels.size for labels in axes)


def first_tensor(args: Sequence[object], named: Mapping[str, object]) -> Tensor | None:
    """The first tensor among the arguments of a call."""
    return next((value for value in (*args, *named.values()) if isinstance(value, Tensor)), None)
