"""The page and the figure of whole trainings: what compaction saves, and what it costs."""

import csv
import statistics
from itertools import groupby
from pathlib import Path

from matplotlib.figure import Figure

from lzero.compact import BELOW

COLOURS = {"dense": "#4d4d4d", "gated": "#0072b2", "compacted": "#d55e00"}
HEAD = """# Whole trainings

Made from [{file}]({file}), which `python benchmarks/whole.py NETWORK --data DIR --seeds N` makes (the second table by
`--below 0.001`): a dense network, the same with gates under a budget of MACs, and with gates and `lzero.Compaction`,
side by side in one process, epoch by epoch in turns. Seconds without evaluation; ratios are to the dense training of
the same seed, mean (least to most) over seeds; errors are on validation data, of what is shipped (gates are held by
then). *To the same loss*: when the compacted training comes within 1 % of the gated one's last validation loss, as a
share of that one's seconds; "never" counts the seeds in which it does not. {machines}.

![Seconds of an epoch, and validation loss against seconds]({picture})

| network | epochs, seeds | dense, s | gated | compacted | its last epoch | to the same loss | error: dense | gated | \
compacted |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|
"""
SAME = 1.01


def _read(path):
    with Path(path).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        for name in ("target", "seconds", "loss", "error", "macs"):
            row[name] = float(row[name])
        for name in ("epochs", "seed", "epoch"):
            row[name] = int(row[name])
    return rows


def _whole(rows):
    """Rows by (network, target, epochs) -> seed -> variant -> epochs in order, of seeds that are complete."""
    found = {}

    def key(row):
        return row["network"], row["target"], row["epochs"], row["seed"]

    for (network, target, epochs, seed), several in groupby(sorted(rows, key=key), key):
        variants = {}
        for row in sorted(several, key=lambda row: row["epoch"]):
            variants.setdefault(row["variant"], []).append(row)
        if all(len(variants.get(name, ())) == epochs for name in COLOURS):
            found.setdefault((network, target, epochs), {})[seed] = variants
    return found


def _spread(values, form):
    middle = statistics.mean(values)
    if len(values) == 1:
        return form.format(middle)
    return f"{form.format(middle)} ({form.format(min(values))} to {form.format(max(values))})"


def _total(rows):
    return sum(row["seconds"] for row in rows)


def _same_loss(variants):
    """When the compacted training is as good as the gated one is at its end, over its seconds; None for never."""
    spent, enough = 0.0, SAME * variants["gated"][-1]["loss"]
    for row in variants["compacted"]:
        spent += row["seconds"]
        if row["loss"] <= enough:
            return spent / _total(variants["gated"])
    return None


def _reached(seeds):
    reached = [_same_loss(variants) for variants in seeds.values()]
    times = [time for time in reached if time is not None]
    never = f"never in {len(reached) - len(times)}"
    if not times:
        return never
    return _spread(times, "{:.2f}x") + ("" if len(times) == len(reached) else f", {never}")


def _line(network, target, epochs, seeds):
    ratios = {name: [_total(v[name]) / _total(v["dense"]) for v in seeds.values()] for name in COLOURS}
    last = [v["compacted"][-1]["seconds"] / v["dense"][-1]["seconds"] for v in seeds.values()]
    errors = {name: [v[name][-1]["error"] for v in seeds.values()] for name in COLOURS}
    cells = [
        f"{network}, {target:.0%} of the MACs",
        f"{epochs}, {len(seeds)}",
        f"{statistics.mean(_total(v['dense']) for v in seeds.values()):.0f}",
        _spread(ratios["gated"], "{:.2f}x"),
        _spread(ratios["compacted"], "{:.2f}x"),
        _spread(last, "{:.2f}x"),
        _reached(seeds),
        *(_spread(errors[name], "{:.2f} %") for name in COLOURS),
    ]
    return f"| {' | '.join(cells)} |"


LIMITS = """
## How unlikely a gate has to be

The same with other limits of P(z != 0), up to which a closed gate leaves: validation loss after the last epoch, mean
(least to most) over the same seeds.

| network | epochs, seeds | never | {limits} |
|---|---|---:|{rule}
"""


def _limits(found):
    """A table of the trainings with other limits, empty where there are none."""
    several = {key: seeds for key, seeds in found.items() if any(len(v) > len(COLOURS) for v in seeds.values())}
    names = sorted({n for s in several.values() for v in s.values() for n in v if n not in COLOURS})
    if not names:
        return ""
    columns = ["gated", *names, "compacted"]
    heads = [*(name.removeprefix("below ") for name in names), f"{BELOW}, the default"]
    lines = []
    for (network, target, epochs), seeds in several.items():
        cells = []
        for name in columns:
            losses = [v[name][-1]["loss"] for v in seeds.values() if len(v.get(name, ())) == epochs]
            cells.append(_spread(losses, "{:.4f}") if losses else "")
        lines.append(f"| {network}, {target:.0%} of the MACs | {epochs}, {len(seeds)} | {' | '.join(cells)} |")
    head = LIMITS.format(limits=" | ".join(heads), rule="---:|" * len(heads))
    return head + "\n".join(lines) + "\n"


def _figure(found, path):
    picture = Figure(figsize=(9, 2.6 * max(1, len(found))), layout="constrained")
    axes = picture.subplots(max(1, len(found)), 2, squeeze=False)
    for (left, right), ((network, target, _), seeds) in zip(axes, found.items(), strict=True):
        for name, colour in COLOURS.items():
            for number, variants in enumerate(seeds.values()):
                rows = variants[name]
                ends, spent = [], 0.0
                for row in rows:
                    spent += row["seconds"]
                    ends.append(spent)
                label = name if number == 0 else None
                options = {"color": colour, "alpha": 0.8, "linewidth": 1.4, "label": label}
                left.plot([row["epoch"] + 1 for row in rows], [row["seconds"] for row in rows], **options)
                right.plot(ends, [row["loss"] for row in rows], **options)
        left.set(
            title=f"{network}, {target:.0%} of the MACs", xlabel="epoch", ylabel="seconds of an epoch", ylim=(0, None)
        )
        right.set(title="until the end", xlabel="seconds", ylabel="validation loss", yscale="log")
    axes[0][0].legend(frameon=False)
    picture.savefig(path, dpi=100)


def write_page(path):
    """``whole.md`` and ``whole.png`` beside the CSV at ``path``, of the trainings that are complete."""
    path = Path(path)
    if not path.exists():
        return
    rows = _read(path)
    found = _whole(rows)
    if not found:
        return
    picture = path.with_suffix(".png")
    _figure(found, picture)
    machines = "; ".join(sorted({row["machine"] for row in rows}))
    head = HEAD.format(file=path.name, picture=picture.name, machines=f"Measured on {machines}")
    lines = [_line(*key, seeds) for key, seeds in found.items()]
    path.with_suffix(".md").write_text(head + "\n".join(lines) + "\n" + _limits(found), encoding="utf-8")
