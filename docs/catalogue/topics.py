"""What somebody was doing when a message came, by the file that it comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Topic:
    """A section of the page.

    Attributes:
        title: its heading.
        lead: what is in it, in a sentence or two.
        places: the files, or beginnings of their paths; the longest that fits any topic decides.
    """

    title: str
    lead: str
    places: tuple[str, ...]


TOPICS = (
    Topic(
        "Gating a model",
        "`discover`, `attach_gates`, `detach_gates`, and the first forward of a gated model. "
        "Nothing has been changed when one of these comes.",
        (
            "lzero/attach.py",
            "lzero/discover.py",
            "lzero/tracing/",
            "lzero/proving/",
            "lzero/host/",
            "lzero/cost/table.py",
            "lzero/plan/widths.py",
            "lzero/gates/",
            "lzero/surgery/",
            "lzero/detach.py",
        ),
    ),
    Topic(
        "Asking for a budget",
        "`Constraint`, the targets of a solver, and the coefficients of a penalty. "
        "A budget that cannot be met is refused before the training, with the smallest that can.",
        (
            "lzero/constraints.py",
            "lzero/cost/",
            "lzero/plan/remainder.py",
            "lzero/solver/penalty.py",
            "lzero/baselines/bisection.py",
            "lzero/settle.py",
        ),
    ),
    Topic(
        "The training loop",
        "`Solver` and the other methods, `step()`, drawing gates, resuming, and units that leave during the training.",
        (
            "lzero/solver/",
            "lzero/gates/history.py",
            "lzero/gates/draw.py",
            "lzero/gates/gate.py",
            "lzero/gates/drawing.py",
            "lzero/gates/score.py",
            "lzero/gates/ledger.py",
            "lzero/gates/routing.py",
            "lzero/gates/skip.py",
            "lzero/constraint_record.py",
            "lzero/surgery/narrow.py",
            "lzero/surgery/optimizer_state.py",
            "lzero/compact.py",
            "lzero/compaction.py",
            "lzero/baselines/magnitude.py",
        ),
    ),
    Topic(
        "Several processes",
        "Data parallel and sharded models: gates come first, wrappers afterwards.",
        ("lzero/host/wrappers.py", "lzero/integrations/fsdp.py"),
    ),
    Topic(
        "Purging",
        "`purge`, its certificate and its table, several sizes by `front`, and a dense network of the same size. "
        "The model that was trained is left as it was.",
        (
            "lzero/purge.py",
            "lzero/certificate.py",
            "lzero/verify.py",
            "lzero/front.py",
            "lzero/surgery/attached.py",
            "lzero/surgery/shrink.py",
            "lzero/baselines/",
        ),
    ),
    Topic(
        "Saving and loading",
        "`save_purged`, `load_purged`, state dicts and `Plan.save`. A model that cannot be loaded into is as it was.",
        (
            "lzero/save.py",
            "lzero/reload.py",
            "lzero/shipped/",
            "lzero/surgery/saved_",
            "lzero/surgery/depth.py",
            "lzero/surgery/ratios.py",
            "lzero/surgery/config_numbers.py",
            "lzero/plan/",
        ),
    ),
    Topic(
        "Latency",
        "`lzero.latency.measure`, its tables, and budgets of latency.",
        ("lzero/latency/", "lzero/cost/timed.py"),
    ),
    Topic(
        "Hugging Face",
        "`lzero.integrations.transformers` and `lzero.integrations.peft`.",
        (
            "lzero/integrations/transformers/",
            "lzero/integrations/peft.py",
            "lzero/surgery/adapters.py",
            "lzero/surgery/grown.py",
        ),
    ),
    Topic(
        "Lightning, Fabric and Accelerate",
        "The other trainers of `lzero.integrations`, and what all of them ask.",
        ("lzero/integrations/",),
    ),
    Topic(
        "Recording and plotting",
        "`Recorder`, `lzero.plots` and `result.report`.",
        ("lzero/recorder.py", "lzero/plots/", "lzero/report/"),
    ),
    Topic(
        "The command line",
        "`lzero train`, `compare`, `study` and the others: one line on standard error, "
        "exit code 1 where a run failed, 2 where it was called wrongly.",
        ("lzero_lab/",),
    ),
)

FILES = {
    # what only a file that was changed or damaged can give: entries, told by what they have to be
    "lzero/plan/record.py": "entries of a saved plan",
    "lzero/plan/norm_record.py": "entries of a saved plan",
    "lzero/plan/positions.py": "entries of a saved plan",
    "lzero/latency/record.py": "entries of a saved table of latencies",
    "lzero/shipped/description.py": "entries of `lzero.json`",
}


def topic_of(path: str, topics: tuple[Topic, ...]) -> Topic:
    """The topic of a file: of the longest beginning that fits.

    Raises:
        LookupError: none fits.
    """
    fitting = [(len(place), topic) for topic in topics for place in topic.places if path.startswith(place)]
    if not fitting:
        raise LookupError(f"{path}: in no topic of docs/catalogue/topics.py; add it to one")
    return max(fitting, key=lambda pair: pair[0])[1]
