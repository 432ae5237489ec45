"""The small model: settle, remove the gates, shrink, verify, certify."""

from __future__ import annotations

import os
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from lzero.certificate import Certificate, asked_of, certify, table_of
from lzero.checks import flag, shown
from lzero.constraints import Budgets, Constraint
from lzero.errors import LzeroWarning, StructureError
from lzero.gates.gates import Gates
from lzero.host.inputs import ExampleInputs
from lzero.host.tensors import saved_size
from lzero.host.wrappers import check_unsharded, restore_forward, unwrap
from lzero.latency.again import forwards_fit, measured
from lzero.recorder import Recorder, Row
from lzero.settle import Settled
from lzero.settle import settle as settle_gates
from lzero.shipped.origin import Origin
from lzero.surgery.attached import root_gates
from lzero.surgery.grown import check_not_grown
from lzero.surgery.libraries import library_of
from lzero.surgery.remove import without_gates
from lzero.surgery.shrink import scale_consumers, shrink
from lzero.table import Table
from lzero.verify import Verification


@dataclass(frozen=True, eq=False)
class PurgeResult:
    """A smaller plain module with its certificate.

    Attributes:
        model: a new module without gates or parametrizations.
        certificate: what it costs and how it was checked.
        kept: group name -> bool mask [k] of the units that live on.
        origin: what the model was before; None where nothing was purged.
        layers: what :meth:`table` returns; None where nothing was purged.
    """

    model: nn.Module
    certificate: Certificate
    kept: Mapping[str, Tensor]
    origin: Origin | None = None
    layers: Table | None = field(default=None, repr=False)

    def table(self) -> Table:
        """What purging did, layer by layer: units, parameters and MACs before and after, and what was left whole.

        Raises:
            StructureError: nothing was purged.
        """
        if self.layers is None:
            raise StructureError(
                "PurgeResult.table: no gates were purged, and every layer is what it was; attach gates before training"
            )
        return self.layers

    def report(
        self,
        path: str | os.PathLike[str],
        recorder: Recorder | Sequence[Row] = (),
        *,
        front: Recorder | Sequence[Row] = (),
        title: str | None = None,
        configuration: Mapping[str, object] | None = None,
    ) -> Path:
        """The path of one HTML file with all of this, to open from the disk; it needs no network.

        Certificate, layer by layer before and after, what was left whole and why, latency where there was a budget of
        it, warnings and versions; with ``recorder`` also the training: density against its target, multiplier, loss,
        error, and the gates over time.

            recorder.append(epoch=epoch, loss=loss, error=error, **solver.metrics(), **gates.histogram())

        Args:
            path: of the file, such as ``"report.html"``; it is written whole or not at all.
            recorder: rows of the training. The columns of :func:`lzero.plots.dynamics` are drawn, those that are there.
            front: rows of a :class:`lzero.Front`, for evaluation against density.
            title: of the page; the class of the model if left out.
            configuration: what the training depended on, name -> value.

        Raises:
            RecordError: ``path`` cannot be written, ``recorder`` or ``front`` are no rows, rows hold text where numbers
                belong, or ``configuration`` is no mapping.
        """
        from lzero.report import Content, listed, named, write  # here, since it needs matplotlib and jinja2

        content = Content(
            title=type(self.model).__name__ if title is None else str(title),
            certificate=self.certificate,
            layers=self.layers,
            rows=listed("report, recorder", recorder),
            points=listed("report, front", front),
            configuration=named("report, configuration", configuration),
        )
        return write(content, path)

    def __str__(self) -> str:
        said = [textwrap.fill(line, 100, subsequent_indent="  ") for line in str(self.certificate).splitlines()]
        return "\n".join(said if self.layers is None else [str(self.layers), "", *said])


@torch.no_grad()
def purge(
    model: nn.Module,
    *,
    constraints: Sequence[Constraint] | None = None,
    settle: bool = True,
    verify: bool = True,
    measure: bool = True,
) -> PurgeResult:
    """A new, smaller, plain module that meets its budgets; ``model`` is left as it was.

    Args:
        model: a model with gates attached; also one inside DistributedDataParallel, ``torch.compile`` or
            ``AveragedModel``.
        constraints: the budgets; by default those that the gates were trained for, which ride in the state dict.
        settle: choose the deployed set so that every budget is met with less than one unit, or step of ``round_to``,
            to spare; False ships the gates that are open, each group at its next width.
        verify: run the gated and the purged model on the example inputs, count parameters, and compare.
        measure: under a budget of latency, where the model is on the device of its table and the example inputs have
            the shapes that it was measured with (but for their number): time forwards before and after, for some two
            seconds, for the certificate. False says what the table does and no more.

    Example:
        >>> import lzero
        >>> from torch import nn, zeros
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
        >>> gates = lzero.attach_gates(model, zeros(1, 8))  # and a training, by which they are ranked
        >>> result = lzero.purge(model, constraints=[lzero.Constraint(0.5)])
        >>> result.model
        Sequential(
          (0): Linear(in_features=8, out_features=7, bias=True)
          (1): ReLU()
          (2): Linear(in_features=7, out_features=2, bias=True)
        )
        >>> f"{result.certificate.deployed['params']:.3f}"
        '0.444'

    Raises:
        StructureError: ``model`` has no gates or is sharded over processes, or the purged model does not run, or does
            not give the same outputs.
        BudgetError: an infeasible budget.

    Warns:
        LzeroWarning: settling, and not the training, has chosen what is shipped; or there is no budget. The certificate
            says the same.
    """
    if not isinstance(model, nn.Module):
        raise StructureError(f"purge: expected a model with gates attached, found {shown(model)}")
    flag("settle", settle, error=StructureError)
    flag("verify", verify, error=StructureError)
    flag("measure", measure, error=StructureError)
    model = unwrap(model)
    check_unsharded(model, "purge")
    gates = root_gates(model)
    check_not_grown(model, gates)
    asked = asked_of(gates) if constraints is None else constraints
    budgets = Budgets(asked, gates, "purge") if constraints is not None or asked else None

    settled = _settled(gates, budgets, given=constraints is not None, settle=settle)
    z = gates.evaluate(settled.open)
    kept = {name: mask.cpu() for name, mask in gates.split(settled.open).items()}
    whole = gates.whole
    verification = Verification(model, settled.open) if verify else None
    small = without_gates(model)
    origin = Origin.of(small, gates.plan.granularity)
    if whole is not None:
        origin = replace(origin, shapes=whole.shapes, size=whole.size)
    scale_consumers(small, gates.plan.groups, gates.split(z))
    shrink(small, gates.plan.groups, kept)
    difference = None if verification is None else verification.largest_difference(small)
    restore_forward(small)
    library_of(model).purged(small, model)
    times = _times(model, small, gates, budgets) if measure else None
    certificate = certify(gates, budgets, settled, difference, by_budget=settle, measured=times)

    for text in certificate.warnings:
        warnings.warn(f"{type(model).__name__}: {text}", LzeroWarning, stacklevel=3)
    table = Table.of(gates, settled.open, origin.size, saved_size(small))
    return PurgeResult(small, certificate, kept if whole is None else whole.masks(settled.open), origin, table)


def _times(model: nn.Module, small: nn.Module, gates: Gates, budgets: Budgets | None) -> tuple[float, float] | None:
    """Milliseconds before and after, where the measuring of a table can be repeated.

    Not where units have left the model before: what it was is not there to be timed.
    """
    table = table_of(budgets) if gates.whole is None else None
    given = None if table is None else forwards_fit(table, small, ExampleInputs.of(gates.plan.example_inputs))
    return None if table is None or given is None else measured(table, without_gates(model), small, given)


def _settled(gates: Gates, budgets: Budgets | None, *, given: bool, settle: bool) -> Settled:
    """The set to ship: what the training holds already, or the largest one that meets the budgets."""
    open_ = gates.open_mask()
    if gates.held is None or (settle and given):
        settled = settle_gates(gates, budgets if settle else None)
        if gates.held is None or not torch.equal(settled.open, open_):
            return settled
    found = gates.ledger.latest.get("settled")
    threshold, moved = (0.5, 0.0) if found is None else found[-2:].tolist()
    return Settled(open_, threshold, int(moved), open_)
