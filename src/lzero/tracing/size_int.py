"""Whole numbers that know which sizes they come from, and note as a guard every question that Python asks of them.

What C code does with an int without a word (``range(n)``, ``table[n]``, ``0.5 * n``) is not noted; closures of every
size of small groups, and the check of every purge, are left for that.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch

from lzero.tracing.guards import GuardLog, SizeExpr, skip_frames_of

skip_frames_of(__name__)


class SizeInt(int):
    """An int that carries its :class:`SizeExpr`; sums, products and differences of such numbers are such numbers.

    Whatever leaves that world is noted as a guard: comparisons, rounding, conversions, texts, keys of a dict.
    """

    expr: SizeExpr
    log: GuardLog

    def __new__(cls, value: int, expr: SizeExpr, log: GuardLog) -> SizeInt:
        """``value`` that is ``expr``, its guards noted to ``log``."""
        self = super().__new__(cls, value)
        self.expr, self.log = expr, log
        return self

    def __reduce__(self) -> Any:
        return int, (plain(self),)  # copies are numbers like any other

    def _ask(self, act: str) -> None:
        self.log.ask(self.expr, act)

    def _with(self, other: Any, op: Callable[..., Any], *, swapped: bool) -> Any:
        """``op`` of both as a number of this kind; floats and lists end it, other objects decide for themselves."""
        if not isinstance(other, int):
            if isinstance(other, float):
                self._ask("computes a plain number from its size")
                return _swap(op, plain(self), other, swapped)
            if isinstance(other, list | tuple | str | bytes):
                self._ask("makes a list of its size")
            return NotImplemented
        left, right = (other, self) if swapped else (self, other)
        expr = _joined(op, left, right)
        if op in (operator.floordiv, operator.mod):  # without a remainder nothing is rounded
            self.log.ask(_joined(operator.mod, left, right), "rounds a share of its size")
        return SizeInt(op(plain(left), plain(right)), expr, self.log)

    def _compared(self, other: Any, op: Callable[..., Any]) -> Any:
        if not isinstance(other, int | float):
            return NotImplemented
        against = f" with {plain(other)}" if not isinstance(other, SizeInt) else " with another"
        self.log.ask(_joined(operator.sub, self, other), f"compares its size{against}", lambda gap: op(gap, 0))
        return op(plain(self), plain(other))

    def __hash__(self) -> int:
        self._ask("looks something up by its size")
        return hash(plain(self))

    def __bool__(self) -> bool:
        self.log.ask(self.expr, "branches on its size", lambda number: number != 0)
        return bool(plain(self) != 0)

    def __float__(self) -> float:
        self._ask("computes a plain number from its size")
        return float(plain(self))

    def __int__(self) -> int:
        self._ask("computes a plain number from its size")
        return int.__int__(self)

    def __repr__(self) -> str:
        self._ask("writes down its size")
        return repr(plain(self))

    def __format__(self, spec: str) -> str:
        self._ask("writes down its size")
        return format(plain(self), spec)

    __str__ = __repr__

    def __pow__(self, other: Any, modulus: Any = None) -> Any:
        if isinstance(other, SizeInt) or not isinstance(other, int) or other < 0 or modulus is not None:
            self._ask("computes a plain number from its size")
            return pow(plain(self), plain(other), modulus)
        return self._with(other, operator.pow, swapped=False)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __round__(self, digits: Any = None) -> SizeInt:
        return self

    __pos__ = __trunc__ = __floor__ = __ceil__ = __round__

    def __neg__(self) -> Any:
        return 0 - self

    def __abs__(self) -> Any:
        return -self if self < 0 else self


def plain(value: Any) -> Any:
    """``value`` as a plain int where it is watched."""
    return int.__int__(value) if isinstance(value, SizeInt) else value


def _swap(op: Callable[..., Any], mine: Any, other: Any, swapped: bool) -> Any:
    return op(other, mine) if swapped else op(mine, other)


def _joined(op: Callable[..., Any], left: Any, right: Any) -> SizeExpr:
    """The expr of ``op(left, right)``."""
    one, two = _expr(left), _expr(right)
    return SizeExpr(one.symbols + two.symbols, lambda sizes: op(one.value(sizes), two.value(sizes)))


def _expr(value: Any) -> SizeExpr:
    return value.expr if isinstance(value, SizeInt) else SizeExpr((), lambda sizes: value)


def _arithmetic(name: str, op: Callable[..., Any]) -> None:
    setattr(SizeInt, f"__{name}__", lambda self, other: self._with(other, op, swapped=False))
    setattr(SizeInt, f"__r{name}__", lambda self, other: self._with(other, op, swapped=True))


def _plain_result(name: str, op: Callable[..., Any]) -> None:
    """An operator whose result is a plain number."""

    def ask(self: SizeInt, other: Any, swapped: bool) -> Any:
        if isinstance(other, torch.Tensor):
            return NotImplemented
        self._ask("computes a plain number from its size")
        return _swap(op, plain(self), plain(other), swapped)

    if name != "pow":  # to a whole power, the number may stay watched
        setattr(SizeInt, f"__{name}__", lambda self, other: ask(self, other, swapped=False))
    setattr(SizeInt, f"__r{name}__", lambda self, other: ask(self, other, swapped=True))


def _comparison(op: Callable[..., Any]) -> None:
    setattr(SizeInt, f"__{op.__name__}__", lambda self, other: self._compared(other, op))


for _name in ("add", "sub", "mul", "floordiv", "mod"):
    _arithmetic(_name, getattr(operator, _name))
for _name in ("truediv", "pow", "lshift", "rshift", "and", "or", "xor"):
    _plain_result(_name, getattr(operator, f"__{_name}__"))
for _op in (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge):
    _comparison(_op)
