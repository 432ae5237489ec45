"""Write docs/zoo.md: ``PYTHONPATH=src:tests python tests/zoo/write_table.py``, from the repository's root."""

from __future__ import annotations

from pathlib import Path

import torch
from zoo.convolutional import CONVOLUTIONAL
from zoo.hugging_face import HUGGING_FACE
from zoo.measure import Row, measure
from zoo.sequences import ZOO
from zoo.width import WITH_WIDTH

HEAD = """# The zoo

Small models with random weights, one or more of every family, none of them with code of its own in the library.
Each was discovered and proved, then gated, closed at random several times with fractional open gates, and purged.
*Found* are the groups of units that the tracer coupled, *proved* those that are kept, *refused* the others: the numeric
proof failed, or the forward branches on their size. *Fixed* counts the places that the tracer itself left ungated, such
as the outputs. The reason of each is below.
*Reach* is the share of parameters that at least one gate can remove, *seconds* the time for discovery and proof.
*float64* and *float32* are the largest difference between the outputs of the gated and the purged model, relative to
the largest output that differs. *Parameters* and *MACs* say whether the true counts of every purged model are those of
the closed form; where values decide which expert runs, there is no closed form for MACs. Written by
`tests/zoo/write_table.py`.

| model | found | proved | refused | fixed | gates | reach | seconds | float64 | float32 | parameters | MACs |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
"""


def line(name: str, row: Row, routed: bool) -> str:
    plan, refused = row.plan, row.found - len(row.plan)
    cells = [name, row.found, len(plan), refused, len(plan.refusals) - refused, plan.size,
             f"{plan.reachable / plan.parameters:.0%}", f"{row.seconds:.2f}", f"{row.double:.0e}", f"{row.single:.0e}",
             verdict(row.params), "by value" if routed else verdict(row.macs)]  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |\n"


def verdict(counts: list[tuple[int, int]]) -> str:
    wrong = sum(found != counted for found, counted in counts)
    return f"{wrong} wrong" if wrong else "equal"


def main() -> None:
    text, why = HEAD, ["\n## Refused, and why\n"]
    family = ""
    for name, entry in {**CONVOLUTIONAL, **ZOO, **HUGGING_FACE, **WITH_WIDTH}.items():
        torch.manual_seed(0)
        row = measure(entry.build(), entry.inputs(), entry.granularity)
        if entry.family != family:
            family = entry.family
            text += f"| **{family}** |" + " |" * 11 + "\n"
        text += line(name, row, entry.routed)
        why.append(f"\n**{name}**\n\n")
        why += [
            f"- `{r.name}` ({r.size}): {r.reason}{f'; {r.advice}' if r.advice else ''}\n" for r in row.plan.refusals
        ]
    path = Path("docs/zoo.md")
    path.parent.mkdir(exist_ok=True)
    path.write_text(text + "".join(why))


if __name__ == "__main__":
    main()
