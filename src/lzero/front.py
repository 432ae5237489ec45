"""What one trained model is worth at other budgets: purged at each by its ranked gates, and evaluated."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from lzero.certificate import as_attached, asked_of
from lzero.checks import choice, shown
from lzero.constraints import Budgets, Constraint
from lzero.cost import MEASURES, Cost, Measure
from lzero.errors import BudgetError, LzeroWarning, RecordError, StructureError
from lzero.gates.gates import Gates
from lzero.host.mode import set_mode
from lzero.host.quiet import isolated_random_state
from lzero.host.stopwatch import milliseconds
from lzero.host.wrappers import check_unsharded, unwrap
from lzero.purge import PurgeResult, purge
from lzero.recorder import Recorder, Row
from lzero.surgery.attached import root_gates

LABEL = "one training, cut at other budgets"
NOTE = f"{LABEL}: not equal to training at each"


@dataclass(frozen=True, eq=False)
class Front:
    """One row a budget, to print, to write or to plot (:func:`lzero.plots.front`).

    Attributes:
        rows: ``label``, ``cut`` (1: a training that was cut), ``measure`` (with the path of a part), ``asked`` (the
            target), ``shipped`` (the density there; of several layers the largest), ``params`` and ``macs`` (densities
            of the whole model, where anything counts), ``parameters``, ``evaluation``, and ``milliseconds`` where they
            were asked for.
        trained: what the training was asked for; empty where it had no budget.
    """

    rows: Sequence[Row]
    trained: tuple[Constraint, ...] = ()

    def recorder(self) -> Recorder:
        """The rows as a table that is written as CSV."""
        return Recorder(self.rows)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the table at ``path``, as :meth:`lzero.Recorder.to_csv` does."""
        self.recorder().to_csv(path)

    def __str__(self) -> str:
        columns = [name for name in _SHOWN if any(name in row for row in self.rows)]
        cells = [[_SHOWN[name][0] for name in columns]]
        cells += [[_SHOWN[name][1](row[name]) if name in row else "" for name in columns] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join(c.rjust(width) for c, width in zip(line, widths, strict=True)).rstrip() for line in cells]
        asked = ", ".join(f"{one.target:g} of the {one.measure}" for one in self.trained) or "no budget"
        return "\n".join([f"{NOTE} (it was asked for {asked})", *lines])


def _percent(value: Any) -> str:
    return f"{value:.2%}"


_SHOWN: dict[str, tuple[str, Callable[[Any], str]]] = {
    "asked": ("asked", _percent),
    "measure": ("of", str),
    "shipped": ("shipped", _percent),
    "params": ("params", _percent),
    "macs": ("MACs", _percent),
    "parameters": ("parameters", "{:,}".format),
    "milliseconds": ("ms", "{:.3g}".format),
    "evaluation": ("evaluation", "{:.4g}".format),
}


def front(
    model: nn.Module,
    targets: Sequence[float | Constraint],
    evaluate: Callable[[nn.Module], float],
    *,
    measure: Measure = "params",
    calibrate: Iterable[Any] | None = None,
    inputs: object = None,
) -> Front:
    """A table of what ``model`` is worth at other budgets; ``model`` is left as it was.

    For each target the gates are ranked by P(z != 0), as they were trained, the largest set that meets it is purged,
    as ``lzero.purge(model, constraints=[Constraint(target, measure)])`` does, and evaluated. It is one training, cut at
    other budgets, and **not equal to training at each**: weights have seen the gates of their own budget.
    ``figures/front.md`` has how far apart they are. :class:`lzero.Descent` is the training for several.

    With BatchNorm give ``calibrate``: its statistics are those of the units that were open in training, and without new
    ones a cut network may be worth nothing (``figures/front_batchnorm.md``).

    Args:
        model: with gates attached and trained, whether they are held by now or not.
        targets: densities of the whole model, or constraints, one budget each: another measure, a part of the model, or
            the same number of units for groups alike.
        evaluate: called with every purged model, in eval mode; returns a number, such as its validation error. It may
            change that model. Random draws in it start from the same seed for every target.
        measure: of densities: ``"params"``, ``"macs"`` or ``"gates"``.
        calibrate: batches, such as the training loader, on which statistics of BatchNorm are taken anew before a model
            is evaluated, by ``torch.optim.swa_utils.update_bn``; without BatchNorm they are not looked at.
        inputs: of one forward, as for ``attach_gates``, to measure how long it takes; None measures nothing. The
            median of up to a second of forwards, on whatever else the machine does.

    Example:
        >>> import lzero
        >>> from torch import nn, zeros
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
        >>> gates = lzero.attach_gates(model, zeros(1, 8))
        >>> found = lzero.front(model, [0.8, 0.4], lambda small: small[0].out_features)
        >>> [(row["asked"], row["evaluation"]) for row in found.rows]
        [(0.8, 12.0), (0.4, 6.0)]

    Raises:
        BudgetError: a malformed or infeasible target, before anything is evaluated.
        StructureError: ``model`` has no gates, or cannot be purged, or ``inputs`` do not fit.
        RecordError: ``evaluate`` returns no number.

    Warns:
        LzeroWarning: no training has moved the gates, so that their ranks mean nothing.
    """
    if not isinstance(model, nn.Module):
        raise StructureError(f"front: expected a model with gates attached, found {shown(model)}")
    if not callable(evaluate):
        raise StructureError(f"front: evaluate: expected a function of the purged model, found {shown(evaluate)}")
    if calibrate is not None and (isinstance(calibrate, Iterator) or not isinstance(calibrate, Iterable)):
        raise StructureError(
            f"front: calibrate: expected batches that can be gone through for every target, such as a list or a "
            f"DataLoader, found {shown(calibrate)}"
        )
    inside = unwrap(model)
    check_unsharded(inside, "front")
    gates = root_gates(inside)
    budgets = [Budgets([constraint], gates, "front") for constraint in _constraints(targets, measure)]
    if as_attached(gates):
        warnings.warn(
            "front: no solver has trained these gates, and what is cut is not chosen by any training: train first",
            LzeroWarning,
            stacklevel=2,
        )
    rows = []
    for budget in budgets:
        with isolated_random_state(inside):
            rows.append(_point(inside, gates, budget, evaluate, calibrate, inputs))
    return Front(rows, asked_of(gates))


def _constraints(targets: object, measure: Measure) -> list[Constraint]:
    if not isinstance(targets, Sequence) or isinstance(targets, str | bytes) or not targets:
        raise BudgetError(f"front: expected targets=[0.5, 0.25, ...], found {shown(targets)}")
    choice("measure", measure, MEASURES, error=BudgetError)
    return [target if isinstance(target, Constraint) else Constraint(target, measure) for target in targets]


def _point(
    model: nn.Module,
    gates: Gates,
    budgets: Budgets,
    evaluate: Callable[[nn.Module], float],
    calibrate: Iterable[Any] | None,
    inputs: object,
) -> Row:
    (constraint,) = budgets.constraints
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LzeroWarning)  # that settling chooses what is left is what this is about
        result = purge(model, constraints=[constraint])
    set_mode(result.model, training=False)
    of = budgets.names[0] if len(budgets.names) == 1 else f"{constraint.measure}, each layer"
    row: Row = {"label": LABEL, "cut": 1, "measure": of, "asked": constraint.target}
    row |= _shipped(gates, budgets, result)
    if calibrate is not None:
        _calibrate(result.model, calibrate)
    if inputs is not None:
        row["milliseconds"] = _timed(result.model, inputs)
    return {**row, "evaluation": _number(evaluate(result.model))}


def _shipped(gates: Gates, budgets: Budgets, result: PurgeResult) -> Row:
    """What is left: of what the budget holds for, of the whole model, and in parameters."""
    row: Row = {"shipped": max(result.certificate.deployed[name] for name in budgets.names)}
    whole = gates if gates.whole is None else Gates(gates.whole.plan)  # kept is of all that there were
    open_: Tensor = torch.cat([result.kept[name] for name in gates.slices]).to(whole.log_alpha.device)
    cost = Cost(whole, ["params", "macs"], [("",), ("",)])
    counted = zip(("params", "macs"), cost.fraction(open_).tolist(), cost.total.tolist(), strict=True)
    row |= {name: value for name, value, total in counted if total}
    return {**row, "parameters": result.certificate.parameters}


def _calibrate(model: nn.Module, batches: Iterable[Any]) -> None:
    try:
        update_bn(batches, model)
    except Exception as error:
        raise StructureError(
            f"front: calibrate: the purged model does not run on a batch ({type(error).__name__}: {error}); give "
            "tensors, or tuples of which the first is what the model takes"
        ) from error


def _timed(model: nn.Module, inputs: object) -> float:
    try:
        return milliseconds(model, inputs)
    except Exception as error:
        raise StructureError(
            f"front: inputs: the purged model does not run on them ({type(error).__name__}: {error}); give those of "
            "one forward, as for attach_gates"
        ) from error


def _number(value: object) -> float:
    try:
        return float(value.detach() if isinstance(value, Tensor) else value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError) as error:
        raise RecordError(f"front: evaluate: expected it to return a number, found {shown(value)}") from error
