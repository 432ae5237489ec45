"""What a forward tells of the numbers that modules keep: how each follows the units whose dims it has measured out.

``x.view(b, t, self.inner)`` says that ``inner`` is as long as the dim that it makes, and the labels of that dim say
which units lie on it. Each such use is an equation, ``expr(numbers) = size of the dim``, that has to hold whatever is
closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from lzero.plan.follower import Follower
from lzero.plan.group import GateGroup
from lzero.plan.refusal import Reason
from lzero.proving.dim_sizes import DimSizes, Linear
from lzero.surgery.layer_sizes import has_rule
from lzero.surgery.numbers.registry import Role, roles_of
from lzero.surgery.numbers.spots import read_number
from lzero.tracing.guards import DimSize, ModuleNumber, SizeUse
from lzero.tracing.label import Classes, IntArray

_TRIED = 256  # numbers of closed units of one group
_ADVICE = (
    "let the forward take that size from the tensor itself (-1, or its shape), or keep it as an attribute of its own; "
    "lzero.surgery.layers.cached_sizes registers sizes that follow in another way"
)


@dataclass(frozen=True)
class Told:
    """What the uses of numbers have told.

    Attributes:
        numbers: by group, the numbers that follow it.
        conflicts: by group, why no number of the forward's can follow it.
        known: path and name of the numbers that some use tells of.
    """

    numbers: Mapping[str, tuple[Follower, ...]]
    conflicts: Mapping[str, Reason]
    known: frozenset[tuple[str, str]]


@dataclass(frozen=True, eq=False)
class _Equation:
    """``use.expr`` of the ``own`` numbers and of ``dims`` is the ``target``."""

    use: SizeUse
    own: tuple[ModuleNumber, ...]
    dims: Mapping[DimSize, Linear]
    target: Linear

    @property
    def groups(self) -> set[str]:
        """The groups that change the dim, or a size that the number is computed from."""
        return {name for linear in (self.target, *self.dims.values()) for name in linear.slopes}


def told_numbers(groups: Sequence[GateGroup], uses: Iterable[SizeUse], classes: Classes, model: nn.Module) -> Told:
    """How the numbers in ``model`` that the traced forward has used follow each of the ``groups``."""
    system = _System(groups, uses, classes, model)
    numbers, conflicts = dict[str, tuple[Follower, ...]](), dict[str, Reason]()
    for group in groups:
        solved = system.solve(group)
        if isinstance(solved, Reason):
            conflicts[group.name] = solved
        elif solved:
            numbers[group.name] = tuple(Follower(n.path, n.name, n.place, each) for n, each in solved.items())
    return Told(numbers, conflicts, frozenset((n.path, n.name) for n in system.by_number))


@dataclass
class _System:
    """All equations of one forward."""

    groups: Sequence[GateGroup]
    uses: Iterable[SizeUse]
    classes: Classes
    model: nn.Module
    by_group: dict[str, list[_Equation]] = field(default_factory=dict)
    by_number: dict[ModuleNumber, list[_Equation]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._sizes = {group.name: group.size for group in self.groups}
        dims = DimSizes(self.groups, self.classes)
        for use in self.uses:
            equation = _equation(use, dims, self.model)
            for name in equation.groups if equation is not None else ():
                self.by_group.setdefault(name, []).append(equation)  # type: ignore[arg-type]
            for number in equation.own if equation is not None else ():
                self.by_number.setdefault(number, []).append(equation)  # type: ignore[arg-type]
        self._values = {n: read_number(self.model.get_submodule(n.path), n.name, n.place) for n in self.by_number}

    def solve(self, group: GateGroup) -> dict[ModuleNumber, int] | Reason:
        """What each number loses with a unit of ``group``; why there is no such amount."""
        closed = np.arange(1, group.size)
        closed = closed[np.linspace(0, len(closed) - 1, min(_TRIED, len(closed))).astype(int)]
        each: dict[ModuleNumber, int] = {}
        equations: dict[_Equation, None] = {}
        more = self.by_group.get(group.name, [])
        while more:  # a number that changes may change others with it
            equations |= dict.fromkeys(more)
            for number in dict.fromkeys(number for equation in more for number in equation.own):
                found = self._as_dims(number, group)
                if len(found) > 1:
                    return _both(number, [found[amount] for amount in sorted(found)])
                each.update((number, amount) for amount in found)
            self._solve_others(group, list(equations), closed, each)
            more = [
                e for number, amount in each.items() if amount for e in self.by_number[number] if e not in equations
            ]
        for equation in equations:
            if not self._holds(equation, group, closed, each):
                return _unequal(equation)
        return {number: amount for number, amount in each.items() if amount}

    def _as_dims(self, number: ModuleNumber, group: GateGroup) -> dict[int, _Equation]:
        """What the dims that are as long as ``number`` lose with each unit; one amount, or it is no one number."""
        return {
            equation.target.slopes.get(group.name, 0): equation
            for equation in self.by_number[number]
            if _is_itself(equation)
        }

    def _solve_others(
        self, group: GateGroup, equations: Sequence[_Equation], closed: IntArray, each: dict[ModuleNumber, int]
    ) -> None:
        """Solve equations with one unknown; where all have several, those stay whose names say so, then the later."""
        waiting = [equation for equation in equations if any(number not in each for number in equation.own)]
        while waiting:
            single = next((e for e in waiting if sum(n not in each for n in dict.fromkeys(e.own)) == 1), None)
            if single is not None:
                (number,) = (n for n in dict.fromkeys(single.own) if n not in each)
                each[number] = self._amount(single, number, group, closed, each)
            else:
                unknown = [n for n in dict.fromkeys(waiting[0].own) if n not in each]
                each[min(unknown, key=self._follows)] = 0
            waiting = [equation for equation in waiting if any(number not in each for number in equation.own)]

    def _follows(self, number: ModuleNumber) -> int:
        """How likely it is that a number follows, by its name."""
        (role,) = roles_of(self.model.get_submodule(number.path), [number.name.rpartition(".")[2]])
        return (Role.STAYS, Role.HEAD_SIZE, Role.SIZE, Role.INNER, Role.HEADS).index(role)

    def _amount(
        self, equation: _Equation, number: ModuleNumber, group: GateGroup, closed: IntArray, each: Mapping[Any, int]
    ) -> int:
        """What ``number`` must lose with each unit for ``equation`` to hold; 0 where nothing does."""
        value = self._values[number]
        tried = np.arange((value - 1) // (group.size - 1) + 1)
        fit = tried[self._gap(equation, group, np.ones(1, dtype=np.int64), {**each, number: tried}) == 0]
        share = value // group.size
        order = sorted(fit.tolist(), key=lambda amount: (amount != share, -amount))
        return next((a for a in order if self._holds(equation, group, closed, {**each, number: a})), 0)

    def _holds(self, equation: _Equation, group: GateGroup, closed: IntArray, each: Mapping[Any, Any]) -> bool:
        return bool((self._gap(equation, group, closed, each) == 0).all())

    def _gap(self, equation: _Equation, group: GateGroup, closed: IntArray, each: Mapping[Any, Any]) -> Any:
        """How far the number is from the size of the dim, by numbers of closed units or by amounts that are tried."""
        sizes: dict[Any, Any] = {n: self._values[n] - each.get(n, 0) * closed for n in equation.own}
        for symbol, linear in equation.dims.items():
            sizes[symbol] = self._size(linear) - linear.slopes.get(group.name, 0) * closed
        with np.errstate(all="ignore"):
            asked = equation.use.expr.value(sizes)
        return asked - (self._size(equation.target) - equation.target.slopes.get(group.name, 0) * closed)

    def _size(self, linear: Linear) -> int:
        return linear.constant + sum(slope * self._sizes[name] for name, slope in linear.slopes.items())


def _equation(use: SizeUse, dims: DimSizes, model: nn.Module) -> _Equation | None:
    """``use`` as an equation; None where it leads to sizes that no line through the numbers of open units gives."""
    target, known, own = dims.of(DimSize(use.labels)), dict[DimSize, Linear](), list[ModuleNumber]()
    for symbol in use.expr.symbols:
        if isinstance(symbol, DimSize):
            known[symbol] = dims.of(symbol)
        elif has_rule(model.get_submodule(symbol.path)):
            return None
        else:
            own.append(symbol)
    if not all(linear.known for linear in (target, *known.values())):
        return None
    return _Equation(use, tuple(own), known, target)


def _is_itself(equation: _Equation) -> bool:
    """Whether the dim is as long as one number, and not as what is computed from it."""
    if len(equation.use.expr.symbols) != 1 or not equation.own:
        return False
    sample = np.arange(1, 9)
    return bool(np.array_equal(equation.use.expr.value({equation.own[0]: sample}), sample))


def _both(number: ModuleNumber, equations: Sequence[_Equation]) -> Reason:
    first, second = (equation.use.place for equation in equations[:2])
    return Reason(f"the forward takes {number} for the size of these units and of others ({second}; {first})", _ADVICE)


def _unequal(equation: _Equation) -> Reason:
    names = ", ".join(dict.fromkeys(str(number) for number in equation.own))
    what = f"computes from {names}" if names else "takes from another tensor"
    return Reason(f"a size that the forward {what} would not follow these units ({equation.use.place})", _ADVICE)
