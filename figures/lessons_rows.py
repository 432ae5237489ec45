"""The rows of a study as lessons.py reads them: a group a method and budget, with its means and its line of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from scipy.stats import ttest_ind
from script import HERE

from lzero.recorder import Row
from lzero_lab.studies.report import architecture, finished
from lzero_lab.studies.study import Study


@dataclass(frozen=True)
class Group:
    """The trainings of one method at one budget of a study, one a seed."""

    study: str
    budget: str
    method: str
    rows: Sequence[Row]

    @property
    def error(self) -> float:
        """Mean test error in per cent."""
        return mean(100 * float(row["error"]) for row in self.rows)

    def mean(self, column: str) -> float:
        """Of a share, in per cent."""
        return mean(100 * float(row[column]) for row in self.rows)

    def said(self, column: str) -> str:
        """The same as text; a dash where others have not said it."""
        return f"{self.mean(column):.1f} %" if column in self.rows[0] else "–"

    def cells(self) -> list[str]:
        """Its line of a table."""
        errors = [100 * float(row["error"]) for row in self.rows]
        spread = f" ± {stdev(errors):.2f}" if len(errors) > 1 else ""
        if "spread" in self.rows[0]:
            spread = f" ± {100 * float(self.rows[0]['spread']):.2f}"
        return [
            f"{self.study}: {self.budget}",
            self.method,
            self.said("shipped_params"),
            self.said("shipped_macs"),
            architecture(str(self.rows[0].get("kept", ""))),
            f"{float(self.rows[0]['epochs']):.0f}",
            str(self.rows[0].get("seeds", len(self.rows))),
            f"{mean(errors):.2f}{spread} %",
        ]


class Results:
    """The rows of a study by budget and method."""

    def __init__(self, name: str, folder: str) -> None:
        self.name = name
        self.rows = finished(HERE / folder, Study.read(name))

    def of(self, budget: str, *methods: str) -> list[Group]:
        """The groups of these ``methods`` at a ``budget``.

        Raises:
            SystemExit: one of them has no row.
        """
        found = []
        for method in methods:
            rows = [row for row in self.rows if row["budget"] == budget and row["label"] == method]
            if not rows:
                raise SystemExit(
                    f"{self.name}, {budget}: no training of {method} has finished; run lzero study {self.name}"
                )
            found.append(Group(self.name, budget, method, rows))
        return found


def alike(one: Group, other: Group) -> bool:
    """Whether Student's t-test over their seeds does not tell the errors of two groups apart, at 5 %."""
    errors = ([float(row["error"]) for row in group.rows] for group in (one, other))
    return bool(ttest_ind(*errors).pvalue > 0.05)
