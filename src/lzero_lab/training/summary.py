"""What one finished training shipped, as plain numbers for a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from lzero.certificate import Certificate
from lzero.constraints import Budgets
from lzero.cost import Cost
from lzero.gates.gates import Gates
from lzero.purge import PurgeResult
from lzero.settle import breaking
from lzero_lab.errors import DataError
from lzero_lab.training.evaluation import error, share_of_operations, whole_network
from lzero_lab.training.training import Training


@dataclass(frozen=True)
class Summary:
    """One training in numbers; densities are of the whole model, in the measure of its recipe.

    Attributes:
        before_settling: deployed density at the end of training, before settling.
        shipped: density of the purged model.
        within_one_unit: whether no unit that was removed would still have fitted into every budget; True without one.
        parameters: of the purged model.
        parameters_before: of the ungated model.
        validation_error: of the purged model, in [0, 1].
        test_error: of the purged model, in [0, 1]; never the ground of a choice.
        seconds: spent in training steps.
    """

    before_settling: float
    shipped: float
    within_one_unit: bool
    parameters: int
    parameters_before: int
    validation_error: float
    test_error: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The same as a plain dict, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Summary:
        """The summary that :meth:`to_dict` returned as ``values``.

        Raises:
            DataError: another set of entries, or one that is no number.
        """
        expected = {field.name for field in fields(cls)}
        if values.keys() != expected:
            raise DataError(f"summary: expected the entries {', '.join(sorted(expected))}, found {', '.join(values)}")
        for name, value in values.items():
            if not isinstance(value, int | float):
                raise DataError(f"summary, {name}: expected a number, found {value!r}")
        return cls(**values)


def ship(training: Training) -> PurgeResult:
    """The purged model of a training with its certificate; a dense training ships its model as it is."""
    if training.gates is not None:
        return training.purge()
    ungated = whole_network(training.recipe.model, training.data)
    before, parameters = (sum(p.numel() for p in model.parameters()) for model in (ungated, training.model))
    shares: dict[str, float] = {"params": parameters / before}
    if training.recipe.measure == "macs":
        shares["macs"] = share_of_operations(training.model, training.recipe.model, training.data)
    certificate = Certificate(
        asked={},
        expected=shares,
        before_settling=shares,
        deployed=shares,
        threshold=0.5,
        moved=0,
        parameters=parameters,
        parameters_before=before,
        largest_difference=0.0,
    )
    return PurgeResult(training.model, certificate, {})


def summarise(training: Training, result: PurgeResult) -> Summary:
    """The numbers of a finished training and of what :func:`ship` made of it."""
    data, gates, measure = training.data, training.gates, training.recipe.measure
    before = shipped = result.certificate.deployed.get(measure, 1.0)
    within_one_unit = True
    if gates is not None:
        open_ = torch.cat([result.kept[name] for name in gates.slices]).to(gates.log_alpha.device)
        cost = Cost(gates, measure)
        before = result.certificate.before_settling.get(measure, float(cost.fraction(gates.open_mask())))
        shipped = float(cost.fraction(open_))
        within_one_unit = _within_one_unit(gates, training.budgets(), open_)
    return Summary(
        before_settling=before,
        shipped=shipped,
        within_one_unit=within_one_unit,
        parameters=result.certificate.parameters,
        parameters_before=result.certificate.parameters_before,
        validation_error=error(result.model, data.validation_x, data.validation_y),
        test_error=error(result.model, data.test_x, data.test_y),
        seconds=training.seconds,
    )


def _within_one_unit(gates: Gates, budgets: Budgets | None, open_: Tensor) -> bool:
    """Whether opening any one closed gate breaks a budget; each price is exact, since costs are multilinear."""
    if budgets is None:
        return True
    fits = ~open_ & ((gates.owners < 0) | open_[gates.owners.clamp_min(0)]) & ~breaking(budgets, open_)
    return not bool(fits.any())
