"""Bisection on the penalty's coefficient: what it takes to reach a density without a constraint."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from scipy import optimize

from lzero.checks import choice, real, whole
from lzero.errors import BudgetError, NonFiniteError

Method = Literal["bisect", "brentq", "ridder", "toms748"]
_FINDERS: Mapping[str, Callable[..., object]] = {
    "bisect": optimize.bisect,
    "brentq": optimize.brentq,
    "ridder": optimize.ridder,
    "toms748": optimize.toms748,
}
_RESOLUTION = 1e-3  # decades: two coefficients closer than this are one


@dataclass(frozen=True)
class Bisection:
    """The coefficient that came closest to the target, and everything that was trained to find it.

    Attributes:
        coefficient: of the training whose density is closest to the target, the last of them among equals.
        shipped: the density of that training.
        trainings: (coefficient, shipped density) of every training, in order.
        converged: whether ``shipped`` lies within the tolerance.
    """

    coefficient: float
    shipped: float
    trainings: tuple[tuple[float, float], ...]
    converged: bool


def bisect_coefficient(
    train: Callable[[float], float],
    target: float,
    *,
    low: float = 1e-4,
    high: float = 10.0,
    tolerance: float = 0.01,
    max_trainings: int = 16,
    method: Method = "bisect",
) -> Bisection:
    """The coefficient at which ``train`` ships ``target``, by one of scipy's root finders on its logarithm.

    The ends of the bracket are trained first, and moved out by decades until one ships more than the target and the
    other less. The search ends as soon as a training lies within the tolerance, and otherwise after
    ``max_trainings``, or where two coefficients that cannot be told apart ship densities on both sides of the target.

    Args:
        train: coefficient -> shipped density; falls with the coefficient, if not at every step.
        target: the density to reach, in (0, 1].
        low, high: the first bracket of the coefficient.
        tolerance: the distance to the target, as a density, that is close enough.
        max_trainings: how often ``train`` may be called.
        method: ``"bisect"``, ``"brentq"``, ``"ridder"`` or ``"toms748"`` of ``scipy.optimize``. Brent's and TOMS 748
            save about one training in seven on smooth curves, and need more than bisection at a cliff.

    Example:
        >>> found = bisect_coefficient(lambda c: 1 / (1 + c), 0.25)
        >>> found.converged, len(found.trainings)
        (True, 9)

    Raises:
        BudgetError: a target, bracket, tolerance, method or number of trainings that makes no search.
        NonFiniteError: a training that ships no finite density.
    """
    _check(target, low, high, tolerance, max_trainings, method)
    search = _Search(train, target, tolerance, max_trainings)
    try:
        left, right = math.log10(low), math.log10(high)
        while search(left) < 0:  # too sparse already: penalize less
            left, right = left - 1, left
        while search(right) > 0:
            left, right = right, right + 1
        _FINDERS[method](search, left, right, xtol=_RESOLUTION)
    except _EnoughError:
        pass
    return search.result()


class _EnoughError(Exception):
    """The search is over: close enough, or out of trainings."""


class _Search:
    """Shipped density - target as a function of log10(coefficient), each point trained once."""

    def __init__(self, train: Callable[[float], float], target: float, tolerance: float, most: int) -> None:
        self._train, self._target, self._tolerance, self._most = train, target, tolerance, most
        self._seen: dict[float, float] = {}  # coefficient -> shipped, in the order of training

    def __call__(self, exponent: float) -> float:
        coefficient = 10.0**exponent
        if coefficient not in self._seen:
            if len(self._seen) == self._most or not 0 < coefficient < math.inf:
                raise _EnoughError
            shipped = float(self._train(coefficient))
            if not math.isfinite(shipped):
                raise NonFiniteError(
                    f"bisection: the training at coefficient {coefficient:g} shipped {shipped}; look at its loss, and "
                    "let low and high lie where trainings converge"
                )
            self._seen[coefficient] = shipped
        distance = self._seen[coefficient] - self._target
        if abs(distance) <= self._tolerance:
            raise _EnoughError
        return distance

    def result(self) -> Bisection:
        latest_first = reversed(self._seen.items())  # of two sides of a cliff, the point next to it
        coefficient, shipped = min(latest_first, key=lambda pair: abs(pair[1] - self._target))
        converged = abs(shipped - self._target) <= self._tolerance
        return Bisection(coefficient, shipped, tuple(self._seen.items()), converged)


def _check(target: float, low: float, high: float, tolerance: float, max_trainings: int, method: str) -> None:
    density = "a target density in (0, 1], such as 0.1"
    real("bisection: target", target, above=0, most=1, expected=density, error=BudgetError)
    for name, end in (("low", low), ("high", high)):
        real(f"bisection: {name}", end, above=0, expected="a finite coefficient > 0", error=BudgetError)
    if low >= high:
        raise BudgetError(f"bisection: expected low < high, found low {low!r} and high {high!r}")
    close = "a tolerance in (0, 1), such as 0.01"
    real("bisection: tolerance", tolerance, above=0, below=1, expected=close, error=BudgetError)
    whole("bisection: max_trainings", max_trainings, least=1, expected="at least one training", error=BudgetError)
    choice("bisection: method", method, _FINDERS, error=BudgetError)
