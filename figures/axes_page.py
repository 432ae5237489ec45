"""The page and the figure of axes.py, from its rows."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from script import head, line

from lzero.plots import save
from lzero.plots.style import CARD, INK, MUTED, colour, marker, new_figure, say, styled
from lzero.recorder import Row

TASKS = {
    "gpt": "GPT: the next byte of Python's standard library",
    "vit": "ViT: CIFAR-10",
}
KINDS = {
    "unit": "units",
    "width": "units and width",
    "depth": "units and depth",
    "width+depth": "units, width and depth",
    "dense": "dense, narrower from the start",
}
LOOKS = dict(zip(KINDS, (0, 1, 2, 3, 7), strict=True))  # of colours and markers
SPEEDS = {
    "cpu_1": "CPU, 1",
    "cpu_32": "CPU, 32",
    "cuda_1": "GPU, 1",
    "cuda_32": "GPU, 32",
}
TEXT = """# Which axis costs least

Made by `python figures/axes.py`; all rows are in [axes.csv](axes.csv).

![Held-out loss by what is gated, and by speed](axes.png)

A language model over bytes (context 128; the source of Python's standard library, whole modules held out) and a vision
transformer (CIFAR-10 as JPEG, 5,000 of the training images for validation), each of 8 pre-norm blocks of width 192 with
6 heads and an MLP of 768, are trained once to a share of their parameters: by heads and hidden units alone, with the
width of the residual stream, with its depth, with all. Beside them the whole dense network, and dense ones that have
the size from the start. AdamW, its rate chosen on the whole dense network's validation loss; everything else is the
library's default. Loss and error are the purged model's, on held-out data that nothing was chosen by: mean, and
standard deviation over seeds. Speed is that of forwards of plain networks of the shipped shape: how many times as fast
as the whole network, in pairs that take turns, on one thread of a CPU and on a GPU, by batch.{noise}

"""


def page(rows: Sequence[Row]) -> str:
    """The page: what was trained, and a table for each task and length of training."""
    whole = [float(row[name]) for row in rows if is_whole(row) for name in SPEEDS if name in row]
    noise = f"\nThe whole network against itself gives {min(whole):.2f} to {max(whole):.2f}." if whole else ""
    where = sorted({f"{row['device']} (torch {row['torch']})" for row in rows if "torch" in row})
    noise += f"\nTrained on {', '.join(where)}." if where else ""
    text = TEXT.format(noise=noise)
    for task, words in TASKS.items():
        for steps in sorted({row["steps"] for row in rows if row["task"] == task}):
            own = [row for row in rows if row["task"] == task and row["steps"] == steps]
            text += f"## {words}\n\n{steps:,} steps. {reading(own)}\n\n" + "\n".join(table(own)) + "\n\n"
    return text.rstrip("\n") + "\n"


def is_whole(row: Row) -> bool:
    """Whether a row is of the whole dense network."""
    return row["granularity"] == "dense" and row["asked"] == 1


def settled(rows: Sequence[Row]) -> list[Row]:
    """The rows without those of the whole network at rates that were not chosen."""
    tried = [row for row in rows if is_whole(row)]
    best = min(tried, key=lambda row: row["validation_loss"])["lr"] if tried else None
    return [row for row in rows if best is None or row["lr"] == best]


def cells(rows: Sequence[Row]) -> dict[tuple[float, str], list[Row]]:
    """(asked, granularity) -> its rows, the largest share first and in the order of :data:`KINDS`."""
    shares = sorted({row["asked"] for row in rows}, reverse=True)
    found = {
        (share, kind): [row for row in rows if (row["asked"], row["granularity"]) == (share, kind)]
        for share in shares
        for kind in KINDS
    }
    return {key: own for key, own in found.items() if own}


def reading(rows: Sequence[Row]) -> str:
    """Which kind has the least loss at each share, and what was tried for the rate."""
    tried = sorted((row["lr"], row["validation_loss"]) for row in rows if is_whole(row))
    by_rate = {rate: min(loss for other, loss in tried if other == rate) for rate, _ in tried}
    said = [f"rate {rate:g}: {loss:.3f}" for rate, loss in by_rate.items()]
    words = [f"The dense network's validation loss by rate: {'; '.join(said)}."] if said else []
    found = cells([row for row in settled(rows) if row["granularity"] != "dense"])
    for share in dict.fromkeys(share for share, _ in found):
        ranked = sorted(
            (mean_of(own, "test_loss"), KINDS[kind]) for (asked, kind), own in found.items() if asked == share
        )
        if len(ranked) > 1:
            words.append(f"At {share:.0%} the least loss of what is gated: {ranked[0][1]}; the most: {ranked[-1][1]}.")
    return " ".join(words)


def mean_of(rows: Sequence[Row], name: str) -> float:
    """Of a column, where it is filled."""
    return mean(float(row[name]) for row in rows if name in row)


def table(rows: Sequence[Row]) -> list[str]:
    """A line a share and kind."""
    rows = settled(rows)
    speeds = {name: words for name, words in SPEEDS.items() if any(name in row for row in rows)}
    columns = ["share", "gated", "shipped", "loss", "error", "width", "blocks", "branches", "heads", "hidden"]
    lines = head([*columns, *speeds.values(), "seeds"])
    for (share, kind), own in cells(rows).items():
        cells_ = [f"{share:.0%}", "dense, whole" if is_whole(own[0]) else KINDS[kind]]
        cells_ += [
            f"{max(row['share'] for row in own):.2%}",
            spread(own, "test_loss", ".3f"),
            spread(own, "test_error", ".1%"),
        ]
        cells_ += [f"{mean_of(own, 'width'):.0f}", f"{mean_of(own, 'blocks'):.1f}"]
        cells_.append(f"{mean(branches(row) for row in own):.1f}")
        cells_ += [f"{mean(total(row, name) for row in own):.0f}" for name in ("heads", "hidden")]
        cells_ += [f"{mean_of(own, name):.2f}" if any(name in row for row in own) else "–" for name in speeds]
        lines.append(line([*cells_, str(len(own))]))
    return lines


def total(row: Row, name: str) -> int:
    """Heads or hidden units of all blocks."""
    return sum(map(int, str(row[name]).split()))


def branches(row: Row) -> int:
    """Branches of attention and MLP that are there."""
    return sum(word != "0" for name in ("heads", "hidden") for word in str(row[name]).split())


def spread(rows: Sequence[Row], name: str, form: str) -> str:
    """Mean and standard deviation."""
    values = [float(row[name]) for row in rows]
    return f"{mean(values):{form}} ± {stdev(values):{form}}" if len(values) > 1 else f"{values[0]:{form}}"


@styled()
def plot(rows: Sequence[Row], output: Path) -> None:
    """A row of panels a task: loss by share, and loss by speed; a colour a kind, a mark a seed, lines through means."""
    tasks = [task for task in TASKS if any(row["task"] == task for row in rows)]
    figure = new_figure(0.6 + 3.3 * len(tasks))
    grid = figure.subplots(len(tasks), 2, squeeze=False, sharey="row")
    for place, task in enumerate(tasks):
        own = [row for row in rows if row["task"] == task]
        own = settled([row for row in own if row["steps"] == max(row["steps"] for row in own)])
        draw_shares(grid[place][0], own)
        draw_speeds(grid[place][1], own)
        grid[place][0].set(title=TASKS[task], ylabel="held-out loss, nats")
    grid[-1][0].set_xlabel("share of the parameters")
    grid[-1][1].set_xlabel("times as fast as the whole network, CPU, batch 32")
    handles = [
        Line2D([], [], color=colour(LOOKS[kind]), marker=marker(LOOKS[kind]), markersize=5, label=words)
        for kind, words in KINDS.items()
    ]
    handles.append(Line2D([], [], color=INK, linewidth=1, label="dense, whole"))
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    save(figure, output)


def draw_shares(ax: Axes, rows: Sequence[Row]) -> None:
    """Loss by share: each kind a little beside the others."""
    whole = [row for row in rows if is_whole(row)]
    gated = cells([row for row in rows if not is_whole(row)])
    shares = list(dict.fromkeys(share for share, _ in gated))
    if whole:
        ax.axhline(mean_of(whole, "test_loss"), color=INK, linewidth=1)
    for place, kind in enumerate(KINDS):
        found = [(shares.index(share), own) for (share, other), own in gated.items() if other == kind]
        x = [at + 0.09 * (place - 2) for at, _ in found]
        ax.plot(x, [mean_of(own, "test_loss") for _, own in found], color=colour(LOOKS[kind]), linewidth=1.2)
        for at, (_, own) in zip(x, found, strict=True):
            seeds(ax, [at] * len(own), own, kind)
    ax.set_xlim(-0.5, max(1, len(shares)) - 0.5)
    ax.set_xticks(range(len(shares)), [f"{share:.0%}" for share in shares])


def draw_speeds(ax: Axes, rows: Sequence[Row]) -> None:
    """Loss by speed; a line through the means of a kind."""
    timed = cells([row for row in rows if "cpu_32" in row and not is_whole(row)])
    if not timed:
        say(ax, "no speed measured yet")
        return
    for kind in KINDS:
        found = [own for (_, other), own in timed.items() if other == kind]
        means = [[mean_of(own, name) for own in found] for name in ("cpu_32", "test_loss")]
        ax.plot(*means, color=colour(LOOKS[kind]), linewidth=1.2)
        for own in found:
            seeds(ax, [row["cpu_32"] for row in own], own, kind)
    ax.axvline(1, color=MUTED, linewidth=0.7)


def seeds(ax: Axes, x: Sequence[float], rows: Sequence[Row], kind: str) -> None:
    """A mark a seed."""
    look = {"color": colour(LOOKS[kind]), "markerfacecolor": CARD, "markersize": 4.5, "linestyle": "none"}
    ax.plot(x, [row["test_loss"] for row in rows], marker=marker(LOOKS[kind]), **look)
