"""The figure and the page of gradients.py, from its rows."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from script import head, line

from lzero.plots import save
from lzero.plots.style import CARD, GRID, MUTED, colour, marker, new_figure, styled

PANELS = {
    "bias_binary": ("Bias, binary objective", "% of its gradient"),
    "bias_own": ("Bias, own objective", "% of its gradient"),
    "direction_binary": ("Direction of the mean", "cosine to the binary one"),
    "deviation": ("Noise of one draw", "times the gradient"),
}
EACH = "for each example"
LEAST, QUIET = 1.0, 0.05  # per cent, and noise: what is smaller stands at the edge


@styled()
def plot(rows: list[dict], output: Path) -> None:
    """A row of panels a network: one line an estimator, one colour an open probability, bars of one standard error."""
    networks, names, chances = (
        list(dict.fromkeys(row[key] for row in rows)) for key in ("network", "estimator", "open")
    )
    figure = new_figure(7.4)
    grid = figure.subplots(len(networks), len(PANELS), sharex="col", sharey=True)
    for place, network in enumerate(networks):
        for ax, (column, (title, label)) in zip(grid[place], PANELS.items(), strict=True):
            for row in (row for row in rows if row["network"] == network and column in row):
                draw_point(ax, column, row, names.index(row["estimator"]), chances.index(row["open"]))
            if column != "direction_binary":
                ax.set_xscale("log")
            if column.startswith("bias"):
                ax.set_xlim(LEAST, 200)
                ax.set_xticks([1, 10, 100], ["≤ 1", "10", "100"])
            if column == "deviation":
                ax.set_xlim(left=QUIET)
                ax.set_xticks([QUIET, 1, 10, 100, 1000], ["0", "1", "10", "100", "1k"])
            ax.minorticks_off()
            if place == 0:
                ax.set_title(title, fontsize=9.5)
                ax.tick_params(axis="x", length=0)
            else:
                ax.set_xlabel(label)
            ax.set_yticks(range(len(names)), names)
            ax.tick_params(axis="y", length=0)
            ax.grid(axis="y", visible=False)
            for edge in range(1, len(names)):
                ax.axhline(edge - 0.5, color=GRID, linewidth=0.7)
        grid[place][0].set_ylabel(f"{network} network", fontweight="bold")
    grid[0][0].set_ylim(len(names) - 0.5, -0.5)
    handles = [
        Line2D([], [], linestyle="none", marker=marker(i), color=colour(i), label=f"P(open) = {p:g}")
        for i, p in enumerate(chances)
    ]
    for label, face in (("drawn once a batch", MUTED), ("drawn for each example", CARD)):
        look = {"color": MUTED, "markerfacecolor": face}
        handles.append(Line2D([], [], linestyle="none", marker="o", label=label, **look))
    handles.append(Line2D([], [], color=MUTED, linewidth=0.9, label="standard error"))
    figure.legend(handles=handles, loc="outside upper center", ncols=6, handlelength=1, columnspacing=1.2, fontsize=9)
    save(figure, output)


def draw_point(ax: Axes, column: str, row: dict, line: int, index: int) -> None:
    """One measurement, on the line of its estimator; ``index`` is that of its open probability."""
    shared = row["drawn"] != EACH
    height = line + 0.27 * (index - 1) + (-0.055 if shared else 0.055)
    value = row[column]
    if column.startswith("bias"):
        error = row[column.replace("bias", "error")]
        ends = (max(100 * end, LEAST) for end in (value - error, value + error))
        ax.plot(list(ends), [height] * 2, color=colour(index), linewidth=0.9, solid_capstyle="butt")
        value = max(100 * value, LEAST)
    if column == "deviation":
        value = max(value, QUIET)
    ax.plot(
        value,
        height,
        marker(index),
        color=colour(index),
        markerfacecolor=colour(index) if shared else CARD,
        markersize=5,
        markeredgewidth=1,
        clip_on=False,
        zorder=3,
    )


TEXT = """# Gradients of the estimators

Made by `python figures/gradients.py`; all rows are in [gradients.csv](gradients.csv).

![Bias and noise of the estimators' gradients](gradients.png)

Twelve gated hidden units (64-6-6-10, one batch of 32 digits), all open with the same probability. The *binary
objective* is E[loss] over gates that are 0 or 1; its gradient is exact, over all 4,096 masks. Hard-concrete gates with
the same open probabilities optimise an *own objective*, over gates in [0, 1]; so do log-normal gates, which have two
parameters each and no binary counterpart. Biases are relative to the norm of the gradient of the objective, plus or
minus their standard error (the mean of ARM and AR is an exact integral); 0 says that chance explains what was found.
Noise is the standard deviation of the gradient of one forward (two for ARM), relative to the norm of the own
objective's gradient; it falls with the root of the number of draws. *Deterministic* gates are not drawn: each is the
number that counts for the open probability at the start of a training, and their objective is the loss there, by the
same logit. The cosine is that of the mean gradient with the
binary one: a bias that only scales the gradient leaves it at 1, and Adam does not feel it.

{reading}

"""


def report(rows: list[dict]) -> str:
    """The page: what was measured, what it says, and a table of the trained network."""
    rows = [row for row in rows if row["network"] == "trained"]
    names = dict.fromkeys(row["estimator"] for row in rows)
    of = {name: [r for r in rows if r["estimator"] == name and r["drawn"] != EACH] for name in names}
    through, standard = of["straight-through"], of["hard concrete, β = 2/3"]
    alone = {(r["estimator"], r["open"]): r["deviation"] for r in rows if r["drawn"] == EACH}
    shared = {(r["estimator"], r["open"]): r["deviation"] for r in rows if r["drawn"] != EACH}
    gains = sorted(shared[key] / deviation for key, deviation in alone.items())
    reading = (
        f"On the trained network the straight-through gradient has a bias of {span(through, 'bias_binary', 100)} % and "
        f"a cosine of {span(through, 'direction_binary')}. The hard-concrete one (β = 2/3) is unbiased for its own "
        f"objective, whose gradient has a cosine of {span(standard, 'direction_binary')} with the binary one. ARM is "
        f"unbiased for the binary objective itself, with a noise of {span(of['ARM'], 'deviation')} against "
        f"{span(standard, 'deviation')} of hard concrete (β = 2/3) and {span(of['AR'], 'deviation')} of AR. Draws for "
        f"each example leave the mean as it is and divide the noise by {gains[0]:.1f} to {gains[-1]:.1f}. "
        f"Deterministic gates have no noise, and a cosine of {span(of['deterministic'], 'direction_binary')} with the "
        "binary gradient: what the loss gains by a little less of a unit is another question than what it loses "
        "without it."
    )
    lines = head(["P(open)", "estimator", "drawn", "bias, binary", "bias, own", "cosine of the mean", "noise"])
    for row in rows:
        bias = [
            f"{100 * row[f'bias_{name}']:.1f} ± {100 * row[f'error_{name}']:.1f} %" if f"bias_{name}" in row else ""
            for name in ("binary", "own")
        ]
        cosine = f"{row['direction_binary']:.3f}" if "direction_binary" in row else ""
        cells = [f"{row['open']:g}", row["estimator"], row["drawn"], *bias, cosine, f"{row['deviation']:.3g}"]
        lines.append(line(cells))
    return TEXT.format(reading=reading) + "\n".join(lines) + "\n"


def span(rows: list[dict], column: str, scale: float = 1) -> str:
    """``least to greatest`` of a column."""
    values = sorted(scale * row[column] for row in rows)
    return f"{values[0]:.3g} to {values[-1]:.3g}"
