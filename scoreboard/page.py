"""docs/scoreboard.md, docs/scoreboard-vision.md and the measured part of docs/coverage.md, made of the CSV files here.

python scoreboard/page.py
"""

import csv
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from statistics import median

import peers
import tiny
from row import ALL
from run import FILE
from source import VISION

PAGE = Path(__file__).parents[1] / "docs" / "scoreboard.md"
VISION_PAGE = PAGE.with_name("scoreboard-vision.md")
COVERAGE = PAGE.with_name("coverage.md")
BEGIN, END = "<!-- measured: scoreboard/page.py -->", "<!-- end of measured -->"
STATES = ("exact", "refused", "wrong", "crash", "time", "not built")
INTRO = """# The scoreboard

Every type of model of transformers {version} that has a class of its own, built tiny with random weights, with a head
where it has one, on all kinds of inputs that it takes (images have their places in texts): discovered, gated, closed at
random and purged, once for its units and once for more, all that there is: the width of its residual stream, whole
blocks and branches, and whole experts (`granularity="width+depth+experts"`). Gated and purged model are compared in
float64 on inputs that discovery has not seen, of another batch size and length where the model takes them; casts to
float32 within a forward are left out of it. Written by `python scoreboard/page.py` from
[scoreboard/transformers.csv](../scoreboard/transformers.csv), which `python scoreboard/run.py` makes:
**{tried} of {all} types so far**, in an order drawn once, so that the rows are a sample of all; run it again and it
goes on. Models of torchvision and timm have [a page](scoreboard-vision.md) of their own.

- *exact*: every closure gave the same outputs, but for rounding; *wrong*: one did not, or what was proved could not be
  purged.
- *refused*: an error of the library with its reason, or nothing that can be gated.
- *crash*: an error that is none of the library's own kind; *time*: more than the limit, with what had run so far.
- *not built*: no tiny configuration and inputs were found that run. That says nothing about the library.

*Reach* is the share of parameters that at least one gate can remove, *floor* the share that is left where every group
has one unit. Both are of the tiny model: in a real one embeddings and heads weigh differently. *Seconds* are those of
the CPU for discovery by units, *worst* is the largest relative difference, *new* what is new in the inputs, beside
their values; images keep their size, and have no length. Inputs *at a tie* are left out, and counted: there the model
chooses by values that are equal but for rounding, and the gated one jumps as well where rounding moves its weights.
"""


VISION_INTRO = """# The scoreboard of torchvision and timm

Every model of torchvision without quantised weights, and the smallest one of every module of timm, a family each:
built without weights, for few classes and images as small as it runs on, and measured as the types of transformers on
[the other page](scoreboard.md) are, whose words have the same meaning here. One closure of every plan is compared, on
inputs of another batch size, and of another image size where the model takes one. More, here the width of streams, is
asked for where units do not reach {most} % already; elsewhere both columns are that of units.

They need a PyTorch of their own: `make scoreboard-vision` makes an environment beside the usual one (torch {torch},
torchvision {torchvision}, timm {timm}; 6 GB), measures what has no row in
[scoreboard/torchvision.csv](../scoreboard/torchvision.csv) and [scoreboard/timm.csv](../scoreboard/timm.csv), which
takes hours and goes on where it was stopped, and writes this page. It is part of no test.
"""

PEER = """### Beside Torch-Pruning's own list

Torch-Pruning lists 85 models of torchvision 0.13.1 ("prunability" in its benchmarks): 77 that run once it has pruned
them, and eight that do not: {fails}.
It asks whether a forward runs, and not what comes out of it. Here, of those 85:

| its list | models | measured | exact | with another state |
|---|---:|---:|---:|---|
"""


def vision_page(rows):
    """The page of the models of torchvision and timm, of the rows of each."""
    made = VISION_INTRO.format(most=ALL, **{name: version for name, (version, _) in VISION.items()})
    lines = [made]
    for name in ("torchvision", "timm"):
        known = [_with_units(row) for row in rows[name]]
        lines += [f"## {name}", "", f"**{len(known)} of {VISION[name][1]}** so far.", ""]
        lines += [*_beside(known), ""] if name == "torchvision" else []
        lines += [f"#{line}" if line.startswith("## ") else line for line in _tables(known)] + [""]
    return "\n".join(lines).rstrip() + "\n"


def _with_units(row):
    """`row` with what units alone give where no width was asked for."""
    reached = row["state"] == "exact" and not row["width_groups"]
    return row | {f"width_{name}": row[name] for name in ("groups", "reach", "floor", "seconds") if reached}


def _beside(rows):
    """What Torch-Pruning says of models, and what is measured here."""
    states = {row["type"]: row["state"] for row in rows}
    lines = [PEER.format(fails=",\n".join(", ".join(peers.FAILS[at : at + 4]) for at in (0, 4))).rstrip()]
    for title, names in (("runs", peers.RUNS), ("does not run", peers.FAILS)):
        found = [(name, states[name]) for name in names if name in states]
        other = ", ".join(f"{name} ({state})" for name, state in found if state != "exact")
        lines.append(_cells([title, len(names), len(found), sum(state == "exact" for _, state in found), other]))
    return lines


def covered(text, rows):
    """``text`` with a line for each library between its marks: how many of its models came out how."""
    lines = [BEGIN, "", "| models of | tried | built | " + " | ".join(STATES[:-1]) + " | reach, median |"]
    lines.append("|---|" + "---:|" * (len(STATES) + 2))
    for name, known in rows.items():
        counts = Counter(row["state"] for row in known)
        built = [row for row in known if row["model"]]
        link = f"[{name}]({(PAGE if name == FILE.stem else VISION_PAGE).name})"
        reach = f"{_median(built, 'reach')} %"
        lines.append(_cells([link, len(known), len(built), *(counts[state] for state in STATES[:-1]), reach]))
    before, _, rest = text.partition(BEGIN)
    return before + "\n".join([*lines, "", END]) + rest.partition(END)[2]


def read(path):
    """The rows of a CSV, as text."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def page(rows, types):
    """The page of transformers, of rows out of so many types."""
    return "\n".join([INTRO.format(version=version("transformers"), tried=len(rows), all=types), *_tables(rows)]) + "\n"


def _tables(rows):
    """Lines of what rows say: counts, medians, what is not exact, what is, and what is not built."""
    counts = Counter(row["state"] for row in rows)
    built = [row for row in rows if row["model"]]
    found = [row for row in rows if int(row["groups"] or 0) or int(row["width_groups"] or 0)]
    lines = ["| tried | built | discovered | " + " | ".join(STATES) + " |", "|---:" * (3 + len(STATES)) + "|"]
    lines += [_cells([len(rows), len(built), len(found), *(counts[state] for state in STATES)]), ""]
    lines += ["| median of what is built | units | more |", "|---|---:|---:|"]
    for name in ("reach", "floor", "seconds"):
        unit = "" if name == "seconds" else " %"
        lines.append(_cells([name, *(f"{_median(built, key)}{unit}" for key in (name, f"width_{name}"))]))
    worst = max((float(row["worst"]) for row in rows if row["worst"] and row["state"] == "exact"), default=0.0)
    lines += ["", f"The largest difference of an exact row is {worst:.0e}.", "", "## What is not exact", ""]
    odd = [row for row in rows if row["state"] in STATES[1:-1]]
    lines += ["| type | state | reason |", "|---|---|---|"] if odd else ["Nothing."]
    lines += [_cells([row["type"], row["state"], _text(row["reason"])]) for row in sorted(odd, key=_key)]
    lines += ["", "## Every type that is built", ""]
    lines += [
        "| type | class | parameters | seconds | groups | reach | floor | more: groups | reach | floor | worst | new |"
    ]
    lines += ["|---|---|" + "---:|" * 9 + "---|"]
    lines += [_cells(_shown(row)) for row in sorted(built, key=lambda row: row["type"])]
    lines += ["", "## Not built", "", "| type | reason |", "|---|---|"]
    rest = sorted((row for row in rows if not row["model"]), key=lambda row: row["type"])
    lines += [_cells([row["type"], _text(row["reason"])]) for row in rest]
    return lines


def _shown(row):
    names = ["type", "model", "parameters", "seconds", "groups", "reach", "floor"]
    names += ["width_groups", "width_reach", "width_floor", "worst", "fresh"]
    cells = {name: row[name] for name in names}
    cells["worst"] += ", float32" if row["dtype"] == "float32" else ""
    cells["type"] += "" if row["state"] == "exact" else f" ({row['state']})"
    return cells.values()


def _median(rows, name):
    values = [float(row[name]) for row in rows if row[name]]
    return f"{median(values):.1f}" if values else ""


def _cells(values):
    return "| " + " | ".join(map(str, values)) + " |"


def _key(row):
    return STATES.index(row["state"]), row["type"]


def _text(reason):
    return reason.replace("|", "\\|").replace("<", "&lt;").replace("`", "")[:160]


def all_rows():
    """The rows of every library, by its name."""
    return {name: read(FILE.with_stem(name)) for name in (FILE.stem, "torchvision", "timm")}


if __name__ == "__main__":
    rows = all_rows()
    PAGE.write_text(page(rows[FILE.stem], len(tiny.types())), encoding="utf-8")
    VISION_PAGE.write_text(vision_page(rows), encoding="utf-8")
    COVERAGE.write_text(covered(COVERAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")
