"""Expected and deployed cost of the model that will be shipped, in closed form.

A weight lives only if the unit that it reads and the unit that it makes both live. With independent gates, gate j
open with probability p_j and owning r_j rows and c_j columns of a tensor (R0, C0 ungated):

    E[#tensor] = rest * ( (R0 + sum_j r_j p_j) (C0 + sum_j c_j p_j) + sum_j r_j c_j p_j (1 - p_j) )

the last sum over gates on both sides. Where an input gate i and a unit gate j meet on one position, it lives with
p_i p_j. The same form at p in {0, 1} counts the deployed model exactly. It is multilinear in p, so that its gradient
at a deployed set is what toggling one gate alone would change.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from lzero.cost.parts import covers
from lzero.cost.sparse import SparseRows
from lzero.cost.terms import Terms
from lzero.gates.gates import Gates
from lzero.structure.plan import Plan

Measure = Literal["params", "macs", "gates"]
MEASURES: tuple[Measure, ...] = ("params", "macs", "gates")


class Cost:
    """Costs of K parts of a model as functions of its gate probabilities p, [G].

    Args:
        gates: attached gates; their flat order is that of p.
        measure: ``"params"`` counts parameters; ``"macs"`` multiply-accumulates of matrix products and convolutions in
            one forward of the example inputs; ``"gates"`` the gates themselves.
        parts: for each part its module paths (a path covers what is below it); ``[("",)]`` is the whole model.

    Attributes:
        total: float64 [K], the cost with every gate open.
    """

    total: Tensor

    def __init__(self, gates: Gates, measure: Measure = "params", parts: Sequence[Iterable[str]] = (("",),)) -> None:
        self._shape = (len(parts), len(gates))
        self._share: Tensor | None = None
        paths = [tuple(part) for part in parts]
        if measure == "gates":
            self._share = _gate_share(gates, paths)
        else:
            terms = Terms(gates.plan, gates)
            self._compile(terms, _tensor_weight(terms.names, gates.plan, measure, paths))
        for name, value in list(vars(self).items()):
            if isinstance(value, Tensor):
                setattr(self, name, value.to(gates.log_alpha.device))
        self.total = self.value(gates.log_alpha.new_ones(len(gates)))

    def value(self, probability: Tensor) -> Tensor:
        """Cost of every part at p (or an open mask) [G], float64 [K], without a graph."""
        if self._share is not None:
            return self._share @ probability.detach().double()
        return self._value(*self._live(probability))

    def fraction(self, probability: Tensor) -> Tensor:
        """Cost of every part relative to all gates open, float64 [K], without a graph."""
        return self.value(probability) / self.total

    def gradient(self, probability: Tensor) -> SparseRows:
        """d value / d p at p [G]; at an open mask it is what toggling each gate alone changes, exactly."""
        if self._share is not None:
            part, gate = self._share.nonzero(as_tuple=True)
            return SparseRows(part, gate, self._share[part, gate], self._shape)
        return self._gradient(*self._live(probability))

    def linearise(self, probability: Tensor) -> tuple[Tensor, SparseRows]:
        """Fractions [K], differentiable in ``probability`` [G], and their gradient as rows; one evaluation for both."""
        if self._share is not None:
            value, rows = self.value(probability), self.gradient(probability)
        else:
            p, sides = self._live(probability)
            value, rows = self._value(p, sides), self._gradient(p, sides)
        rows = SparseRows(rows.part, rows.gate, rows.values / self.total[rows.part], rows.shape)
        fraction: Tensor = _Linear.apply(probability, value / self.total, rows)  # type: ignore[no-untyped-call]
        return fraction, rows

    def _value(self, p: Tensor, sides: Tensor) -> Tensor:
        """Cost of every part, [K], from the probabilities [G + 1] and the live positions of the axes [A]."""
        out = p.new_zeros(self._shape[0])
        out.index_add_(0, self._part, self._rest * sides[self._rows] * sides[self._cols])
        if len(self._both_gate) == 0:
            return out
        mine = p[self._both_gate]
        return out.index_add_(0, self._both_part, self._both_amount * mine * (1 - mine) * p[self._both_other])

    def _gradient(self, p: Tensor, sides: Tensor) -> SparseRows:
        """The gradient of :meth:`_value` with respect to p."""
        per_pair = p.new_zeros(self._pairs)  # d cost / d axis, for every (part, axis)
        per_pair.index_add_(0, self._row_pair, self._rest * sides[self._cols])
        per_pair.index_add_(0, self._col_pair, self._rest * sides[self._rows])
        share = per_pair[self._entry_pair] * self._entry_amount
        values = p.new_zeros(self._slots)
        values.index_add_(0, self._slot_first, share * p[self._entry_second])
        values.index_add_(0, self._slot_second, share * p[self._entry_first])
        if len(self._both_gate):
            mine, other = p[self._both_gate], p[self._both_other]
            values.index_add_(0, self._slot_both, self._both_amount * (1 - 2 * mine) * other)
            values.index_add_(0, self._slot_other, self._both_amount * mine * (1 - mine))
        return SparseRows(self._slot_part, self._slot_gate, values[self._real], self._shape)

    def _live(self, probability: Tensor) -> tuple[Tensor, Tensor]:
        """p with a last entry 1 for "no gate", [G + 1], and the live positions of every axis, [A]; float64."""
        p = probability.detach().double()
        p = torch.cat([p, p.new_ones(1)])
        return p, self._base.index_add(0, self._axis, self._amount * p[self._first] * p[self._second])

    def _compile(self, terms: Terms, weight: Tensor) -> None:
        """Flat tables for ``value`` and ``gradient``; ``weight`` [K, T] says how much of a tensor a part counts."""
        axes, gates = len(terms.base), self._shape[1]
        self._base, self._amount = terms.base, terms.amount
        self._axis, self._first, self._second = terms.axis, terms.first, terms.second
        # Q counted (part, tensor) pairs, each rest * S[row] * S[col]
        self._part, tensor = weight.nonzero(as_tuple=True)
        self._rest = terms.rest[tensor] * weight[self._part, tensor]
        self._rows, self._cols = terms.sides[tensor].unbind(1)
        # (part, axis) pairs, and an entry for each term of each pair
        keys = torch.cat([self._part * axes + self._rows, self._part * axes + self._cols])
        pairs, where = torch.unique(keys, return_inverse=True)
        self._row_pair, self._col_pair = where.chunk(2)
        self._pairs = len(pairs)
        self._entry_pair, entry_term = _expand(pairs % axes, terms.axis, axes)
        self._entry_amount = terms.amount[entry_term]
        self._entry_first, self._entry_second = terms.first[entry_term], terms.second[entry_term]
        # gates on both dims of a tensor, for each counted pair
        pair, row = _expand(tensor, terms.both[:, 0].long(), len(terms.names))
        self._both_part = self._part[pair]
        self._both_gate, self._both_other = terms.both[row, 1].long(), terms.both[row, 2].long()
        self._both_amount = terms.both[row, 3] * self._rest[pair]
        # one slot for each (part, gate) that can have a gradient; gate G takes what goes to no gate
        entry_part = (pairs // axes)[self._entry_pair]
        targets = [(entry_part, self._entry_first), (entry_part, self._entry_second)]
        targets += [(self._both_part, self._both_gate), (self._both_part, self._both_other)]
        keys = torch.cat([part * (gates + 1) + gate for part, gate in targets])
        slots, where = torch.unique(keys, return_inverse=True)
        self._slots = len(slots)
        part, gate = slots // (gates + 1), slots % (gates + 1)
        self._real = (gate < gates).nonzero().squeeze(1)
        self._slot_part, self._slot_gate = part[self._real], gate[self._real]
        lengths = [len(part) for part, _ in targets]
        self._slot_first, self._slot_second, self._slot_both, self._slot_other = where.split(lengths)


class _Linear(torch.autograd.Function):
    """A precomputed value with a precomputed gradient."""

    @staticmethod
    def forward(ctx: Any, probability: Tensor, value: Tensor, rows: SparseRows) -> Tensor:
        ctx.rows, ctx.dtype = rows, probability.dtype
        return value.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.rows.pull(grad).to(ctx.dtype), None, None


def _tensor_weight(names: Sequence[str], plan: Plan, measure: Measure, parts: Sequence[tuple[str, ...]]) -> Tensor:
    """[K, T]: how much one element of each tensor costs each part."""
    uses = [1.0 if measure == "params" else float(plan.positions.get(n, 0)) for n in names]
    each = torch.tensor(uses, dtype=torch.float64)
    inside = torch.tensor([[any(covers(path, n) for path in part) for n in names] for part in parts])
    return inside * each.double()


def _gate_share(gates: Gates, parts: Sequence[tuple[str, ...]]) -> Tensor:
    """[K, G]: 1 where a gate multiplies a tensor of the part."""
    share = torch.zeros(len(parts), len(gates), dtype=torch.float64)
    for group in gates.plan.groups:
        for row, part in enumerate(parts):
            if any(covers(path, member.tensor) for member in group.consumers for path in part):
                share[row, gates.slices[group.name]] = 1.0
    return share


def _expand(wanted: Tensor, keys: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """All (i, j) with ``wanted[i] == keys[j]``, both in [0, size), as two index vectors."""
    order = torch.argsort(keys, stable=True)
    counts = torch.bincount(keys, minlength=size)
    starts = counts.cumsum(0) - counts
    repeats = counts[wanted]
    i = torch.repeat_interleave(torch.arange(len(wanted)), repeats)
    offset = torch.arange(len(i)) - (repeats.cumsum(0) - repeats)[i]
    return i, order[starts[wanted][i] + offset]
