"""What the studies teach, in ten sentences, each with its rows: docs/study.md.

    python figures/lessons.py            # write it
    python figures/lessons.py --check    # only say whether it is up to date

The numbers of a sentence are those of its rows, and what it claims is held against them: where they no longer bear it,
nothing is written, and the sentence is named.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from lessons_rows import Group, Results, alike
from script import HERE, head, line, parser

from lzero_lab.files import write_text
from lzero_lab.studies.report import published

PAGE = HERE.parent / "docs" / "study.md"
FULL = "dense, full size"
OURS, GRADUAL, EVEN = "hard concrete, constrained", "magnitude, gradual", "deterministic, constrained"
HEAD = """# What the study teaches

Ten sentences, each with the rows that say it, written by `python figures/lessons.py` from those of [the study on
MNIST](../figures/study/table.md) (`make study`) and of [the one on CIFAR-10](../figures/cifar/table.md) (`make cifar`,
`make cifar-gpu`); where the rows no longer bear a sentence, that script fails. Errors are of purged models on the test
set after the last epoch, means over seeds, with the standard deviation; nothing was chosen by them. Errors are
said to be alike where Student's t-test over the seeds does not tell them apart, at 5 %."""


@dataclass(frozen=True)
class Lesson:
    """A sentence, what it claims of its rows, and these."""

    sentence: str
    holds: bool
    groups: Sequence[Group]


def whole(mnist: Results) -> Lesson:
    """Gates against the whole network."""
    mlp, lenet = mnist.of("mlp 26.6 % params", FULL, OURS), mnist.of("lenet5 7.7 % params", FULL, OURS)
    return Lesson(
        "Asked for 26.6 % of an MLP or 7.7 % of LeNet-5, gates under a constraint, with the library's defaults, err as "
        f"the whole network does: {mlp[1].error:.2f} against {mlp[0].error:.2f} %, {lenet[1].error:.2f} against "
        f"{lenet[0].error:.2f} %.",
        alike(*mlp) and alike(*lenet),
        [*mlp, *lenet],
    )


def constraint(mnist: Results) -> Lesson:
    """A constraint against a penalty."""
    budgets = ("mlp 26.6 % params", "mlp 7.6 % params", "lenet5 7.7 % params", "lenet5 2.3 % params")
    groups = [mnist.of(budget, OURS, "hard concrete, penalized") for budget in budgets]
    return Lesson(
        "A constraint errs no more than a penalty whose λ was set for that budget beforehand, and which is settled on "
        "it: what is saved is the search for λ.",
        all(alike(ours, theirs) or ours.error < theirs.error for ours, theirs in groups),
        [group for pair in groups for group in pair],
    )


def reported(mnist: Results) -> Lesson:
    """What was published of the same formulation."""
    pairs = []
    for budget in ("mlp 26.6 % params", "mlp 7.6 % params", "lenet5 7.7 % params", "lenet5 2.3 % params"):
        theirs = next(row for row in published([budget], "mnist") if row["source"] == "arXiv 2208.04425")
        pairs.append((*mnist.of(budget, OURS), Group("published", budget, str(theirs["label"]), [theirs])))
    low = min(theirs.error - ours.error for ours, theirs in pairs)
    return Lesson(
        f"At each of the published budgets of this formulation the error is lower than the published one, by {low:.2f} "
        "points or more, in 15 or 30 epochs in place of 200.",
        low > 0,
        [group for pair in pairs for group in pair],
    )


def which_units(mnist: Results) -> Lesson:
    """Random units, and fewer from the start."""
    names = (OURS, "magnitude, one-shot", "random, one-shot", "dense, same size")
    groups, lenet = (mnist.of(budget, *names) for budget in ("mlp 7.6 % params", "lenet5 2.3 % params"))
    ours, once, chance, small = (group.error for group in groups)
    gates, largest, random, start = (group.error for group in lenet)
    return Lesson(
        f"Which units stay matters where few may: on 7.6 % of the MLP random ones of a network that trains err "
        f"{chance:.2f} %, a network as small from the start {small:.2f} %, the largest ones, cut at once, "
        f"{once:.2f} %, gates {ours:.2f} %; on 2.3 % of LeNet-5 random ones {random:.2f} %, the largest {largest:.2f} "
        f"%, gates {gates:.2f} %, from which a network as small from the start, {start:.2f} %, is not told apart.",
        ours < once < chance < small
        and not any(map(alike, groups[1:], groups[2:]))
        and gates < largest < random
        and not any(alike(lenet[0], other) for other in lenet[1:3])
        and alike(lenet[0], lenet[3]),
        [*groups, *lenet],
    )


def pruning(mnist: Results) -> Lesson:
    """Gradual magnitude pruning at equal parameters."""
    budgets = ("mlp 7.6 % params", "lenet5 7.7 % params", "lenet5 2.3 % params")
    groups = [mnist.of(budget, OURS, GRADUAL) for budget in budgets]
    ours, theirs = groups[-1]
    return Lesson(
        "Gradual magnitude pruning in the same loop errs as gates do at equal parameters, and on LeNet-5 with fewer "
        f"multiplications, {theirs.mean('shipped_macs'):.1f} against {ours.mean('shipped_macs'):.1f} % of the MACs at "
        "2.3 % of the parameters: it narrows the convolutions, which hold few of these and do most of the work.",
        all(alike(*pair) for pair in groups) and 2 * theirs.mean("shipped_macs") < ours.mean("shipped_macs"),
        [group for pair in groups for group in pair],
    )


def both(mnist: Results) -> Lesson:
    """Two budgets at once."""
    alone, asked = (
        mnist.of("lenet5 2.3 % params", OURS),
        mnist.of("lenet5 2.3 % params, 6.7 % MACs", OURS, EVEN, GRADUAL),
    )
    wide = mnist.of("lenet5 2.3 % params, 14.9 % MACs", OURS)
    return Lesson(
        "Work that nobody asked to save is not saved, and two budgets are met in one training: LeNet-5 at 2.3 % of its "
        f"parameters errs {alone[0].error:.2f} % with {alone[0].mean('shipped_macs'):.0f} % of its MACs, "
        f"{wide[0].error:.2f} % where at most 14.9 % of them are asked for too, {asked[0].error:.2f} % at 6.7 % "
        "([the plane](../figures/plane.md)).",
        all(group.mean("shipped_macs") <= 6.7 for group in asked) and alike(*alone, *wide),
        [*alone, *wide, *asked],
    )


def estimators(mnist: Results) -> Lesson:
    """One formulation, five estimators."""
    names = (OURS, EVEN, "straight-through, constrained", "SBP, constrained", "ARM, constrained")
    budgets = [mnist.of(budget, *names) for budget in ("mlp 26.6 % params", "mlp 7.6 % params", "lenet5 2.3 % params")]
    errors = [[group.error for group in groups] for groups in budgets]
    ranges = [f"{min(found[:-1]):.2f} to {max(found[:-1]):.2f} %" for found in errors]
    return Lesson(
        "What draws a gate matters less than the constraint above it: hard concrete, deterministic, straight-through "
        f"and log-normal gates err {ranges[0]} at 26.6 % of the MLP, {ranges[1]} at 7.6 %, and {ranges[2]} at 2.3 % of "
        f"LeNet-5; ARM, whose gradient is a difference of two losses, {errors[0][-1]:.2f}, {errors[1][-1]:.2f} and "
        f"{errors[2][-1]:.2f} %.",
        all(max(found[:-1]) - min(found[:-1]) < 0.15 for found in errors)
        and not any(alike(group, groups[-1]) for groups in budgets for group in groups[:-1]),
        [group for groups in budgets for group in groups],
    )


def trained(mnist: Results) -> Lesson:
    """From a trained network."""
    ways = [f"{way}{taught}" for way in ("constrained", "deterministic", "magnitude") for taught in ("", ", taught")]
    names = (OURS, EVEN, GRADUAL, *(f"trained first, then {way}" for way in ways))
    mlp, lenet = (mnist.of(f"{model} 20 % params", *names) for model in ("mlp", "lenet5"))
    scratch, behind = mlp[0].error, [group.error - mlp[0].error for group in mlp[3:]]
    best = min(mlp[3:], key=lambda group: group.error)
    return Lesson(
        "A network that is trained already comes to a fifth of itself in a tenth of its epochs: LeNet-5 errs as after "
        f"a whole training from scratch ({lenet[3].error:.2f} against {lenet[0].error:.2f} %), the MLP is "
        f"{min(behind):.2f} to {max(behind):.2f} points behind the {scratch:.2f} % of its own, least with "
        "deterministic gates and its own answers in the loss.",
        alike(lenet[3], lenet[0]) and min(behind) > 0 and best.method == "trained first, then deterministic, taught",
        [*mlp, *lenet],
    )


def short(cifar: Results) -> Lesson:
    """Few epochs of a residual network."""
    budgets = [
        f"{model} {share} % MACs"
        for model, shares in (("resnet20", (50, 20, 10)), ("wrn-16-2", (20, 10)))
        for share in shares
    ]
    groups = [cifar.of(budget, EVEN, GRADUAL, OURS) for budget in budgets]
    behind = [ours.error - even.error for even, _, ours in groups]
    return Lesson(
        "In 14 epochs of CIFAR-10 noise costs more than it is worth: deterministic gates err less than gradual "
        "magnitude pruning at every budget where all are there, and hard concrete is "
        f"{min(behind):.1f} to {max(behind):.1f} points behind (one seed).",
        all(even.error < theirs.error < ours.error for even, theirs, ours in groups),
        [group for three in groups for group in three],
    )


def claim(cifar: Results) -> Lesson:
    """Whether hard concrete sparsifies a Wide-ResNet."""
    names = [f"{gates}, λ = 0.001{as_}" for as_ in ("", " as on WRN-28-10") for gates in ("hard concrete", "ARM")]
    groups = cifar.of("wrn-16-2, penalties as they end", *names)
    hard, arm = groups[2:]
    return Lesson(
        "That ARM makes Wide-ResNets sparse and penalized hard concrete does not, is not so at this size: under the "
        f"penalty that λ = 0.001 is on WRN-28-10 hard concrete leaves {hard.mean('shipped_params'):.0f} % of the "
        f"parameters of WRN-16-2, ARM {arm.mean('shipped_params'):.0f} %, with a fifth of its gates undecided "
        "(one seed).",
        hard.mean("shipped_params") < arm.mean("shipped_params") and 0.15 < undecided(arm) < 0.25,
        groups,
    )


def undecided(group: Group) -> float:
    """Share of the gates whose P(z != 0) is between 0.1 and 0.9 at the end."""
    bins = [int(count) for count in str(group.rows[0]["gates"]).split()]
    return sum(bins[len(bins) // 10 : -len(bins) // 10]) / sum(bins)


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
