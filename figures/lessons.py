"""What the studies teach, in ten sentences, each with its rows: docs/study.md.

    python figures/lessons.py            # write it
    python figures/lessons.py --check    # only say whether it is up to date

The numbers of a sentence are those of its rows, and what it claims is held against them: where they no longer bear it,
nothing is written, and the sentence is named.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from script import HERE, head, line, parser

from lzero.recorder import Row
from lzero_lab.files import write_text
from lzero_lab.studies.report import architecture, finished, published
from lzero_lab.studies.study import Study

PAGE = HERE.parent / "docs" / "study.md"
OURS, GRADUAL, EVEN = "hard concrete, constrained", "magnitude, gradual", "deterministic, constrained"
HEAD = """# What the study teaches

Ten sentences, each with the rows that say it, written by `python figures/lessons.py` from those of [the study on
MNIST](../figures/study/table.md) (`make study`) and of [the one on CIFAR-10](../figures/cifar/table.md) (`make cifar`,
`make cifar-gpu`); where the rows no longer bear a sentence, that script fails. Errors are of purged models on the test
set after the last epoch, means over seeds, with the standard deviation; nothing was chosen by them. On 10,000 images
chance alone moves an error of 1.5 % by 0.12 points, one of 0.7 % by 0.08, so that what lies closer than that is equal."""


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

    def cells(self) -> list[str]:
        """Its line of a table."""
        errors = [100 * float(row["error"]) for row in self.rows]
        spread = f" ± {stdev(errors):.2f}" if len(errors) > 1 else ""
        return [
            f"{self.study}: {self.budget}",
            self.method,
            f"{self.mean('shipped_params'):.1f} %",
            f"{self.mean('shipped_macs'):.1f} %",
            architecture(str(self.rows[0].get("kept", ""))),
            f"{float(self.rows[0]['epochs']):.0f}",
            str(len(self.rows)),
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


@dataclass(frozen=True)
class Lesson:
    """A sentence, what it claims of its rows, and these."""

    sentence: str
    holds: bool
    groups: Sequence[Group]


def near(one: float, other: float) -> bool:
    """Whether two errors in per cent, of 10,000 images each, are within two standard errors of their difference."""
    share = (one + other) / 200
    return abs(one - other) <= 200 * (2 * share * (1 - share) / 10_000) ** 0.5


def lessons(mnist: Results, cifar: Results) -> list[Lesson]:
    """The ten, in order."""
    return [
        whole(mnist),
        constraint(mnist),
        reported(mnist),
        which_units(mnist),
        pruning(mnist),
        both(mnist),
        estimators(mnist),
        trained(mnist),
        short(cifar),
        claim(cifar),
    ]


def text(results: Sequence[Lesson]) -> str:
    """The page.

    Raises:
        SystemExit: a sentence that its rows do not bear.
    """
    columns = ("study: budget", "method", "parameters", "MACs", "what is left", "epochs", "seeds", "test error")
    parts = [HEAD]
    for number, lesson in enumerate(results, 1):
        if not lesson.holds:
            rows = "\n".join(line(group.cells()) for group in lesson.groups)
            raise SystemExit(f"the rows no longer bear sentence {number}: {lesson.sentence}\n{rows}")
        table = "\n".join([*head(columns), *(line(group.cells()) for group in lesson.groups)])
        parts.append(f"**{number}. {lesson.sentence}**\n\n{table}")
    return "\n\n".join(parts) + "\n"


def main() -> int:
    accepted = parser(__doc__, data_dir=False, workers=False)
    accepted.add_argument("--check", action="store_true")
    options = accepted.parse_args()
    page = text(lessons(Results("mnist", "study"), Results("cifar", "cifar")))
    if options.check:
        return 0 if PAGE.exists() and page == PAGE.read_text(encoding="utf-8") else 1
    write_text(PAGE, page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
