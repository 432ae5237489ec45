"""What a report is made of, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lzero.certificate import Certificate
from lzero.checks import shown
from lzero.errors import RecordError
from lzero.recorder import Recorder, Row, Value
from lzero.table import Table


@dataclass(frozen=True)
class Timing:
    """Milliseconds of a forward.

    Attributes:
        what: which forward, and how it was timed.
        before, after: of the network before purging and of the purged one; None where it was not timed.
    """

    what: str
    before: float | None
    after: float | None


@dataclass(frozen=True, eq=False)
class Content:
    """All that a report shows; what is empty is left out of it.

    Attributes:
        title: of the page, such as the name of the model.
        subtitle: one line below it, such as the data.
        notes: what the reader has to know first, such as that a run is not finished.
        warnings: that were given, beside those on the certificate.
        certificate: what was asked and what is shipped.
        layers: before and after, layer by layer.
        rows: of one training: the columns of :func:`lzero.plots.dynamics`, counts ``p_00``, ... of
            :meth:`lzero.Gates.histogram`; with several budgets those of ``Solver.metrics()``.
        error_label: whose the errors of rows and runs are, such as ``"validation error"``.
        runs: label -> rows of several trainings, to be drawn over one another; ``rows`` alone if left out.
        points: one row a model: those of a :class:`lzero.Front`, with ``evaluation`` or a ``validation_error``, or
            ``method``, ``shipped`` and ``error``, ``asked`` where it was asked for.
        results: what was measured of the purged model: name -> value in words.
        timings: milliseconds of forwards, beside those of a budget of latency.
        timed_on: the machine that they were measured on, in words.
        configuration: what the training depended on; mappings may be nested.
        versions: of what the training ran with; those of this process if left out.
    """

    title: str
    subtitle: str = ""
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    certificate: Certificate | None = None
    layers: Table | None = None
    rows: Sequence[Row] = ()
    error_label: str = "error"
    runs: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    points: Sequence[Mapping[str, Value]] = ()
    results: Mapping[str, str] = field(default_factory=dict)
    timings: Sequence[Timing] = ()
    timed_on: str = ""
    configuration: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


def listed(name: str, rows: object) -> list[Row]:
    """The rows of a :class:`lzero.Recorder`, or of a list of mappings, as a list.

    Raises:
        RecordError: anything else.
    """
    found = rows.rows if isinstance(rows, Recorder) else rows
    if not isinstance(found, Sequence) or not all(isinstance(row, Mapping) for row in found):
        raise RecordError(f"{name}: expected a Recorder, or rows as a list of dicts, found {shown(rows)}")
    return [dict(row) for row in found]


def named(name: str, values: object) -> Mapping[str, object]:
    """The mapping itself; an empty one for None.

    Raises:
        RecordError: anything else.
    """
    if values is None or isinstance(values, Mapping):
        return values or {}
    raise RecordError(f"{name}: expected a mapping, such as vars(arguments), found {shown(values)}")
