"""Parameters, MACs and error of LeNet-5 under one budget and under two, MNIST: plane.png and plane.md.

    python figures/plane.py

Drawn from the rows of the study (`lzero study mnist`, or `make study`): means over seeds of what was shipped and of the
test error after the last epoch. Gates that meet a budget of parameters leave the convolutions wide, where magnitude
makes them narrow; a second budget, of the MACs, asks for both.
"""

from pathlib import Path
from statistics import mean, stdev

from matplotlib.figure import Figure
from script import HERE, head, line

from lzero.plots import save
from lzero.plots.style import CARD, FEASIBLE, INK, colour, legend_above, log_ticks, marker, new_figure, styled
from lzero.plots.table import grouped
from lzero.recorder import Row
from lzero_lab.files import write_text
from lzero_lab.studies.report import CELLS, architecture, finished, published
from lzero_lab.studies.study import Study

METHODS = ("hard concrete, constrained", "deterministic, constrained", "magnitude, gradual")
PLANES = {  # parameters and MACs of two budgets at once, and what is asked for alone beside them
    (0.077, 0.149): ("lenet5 7.7 % params, 14.9 % MACs", "lenet5 7.7 % params", "lenet5 14.9 % MACs"),
    (0.023, 0.149): ("lenet5 2.3 % params, 14.9 % MACs", "lenet5 2.3 % params", "lenet5 14.9 % MACs"),
    (0.023, 0.067): ("lenet5 2.3 % params, 6.7 % MACs", "lenet5 2.3 % params"),
}
FOLDER = Path("/tmp/study")
OURS_BELOW, THEIRS_ABOVE = (7, -13), (7, 7)  # points, of a label from its dot


def means(rows: list[Row]) -> dict[tuple[str, str], dict[str, float]]:
    """Budget and method -> means of what was shipped and of the error, with its deviation, in per cent."""
    found = {}
    for budget, group in grouped(rows, "budget").items():
        for label, trainings in grouped(group, "label").items():
            errors = [100 * float(row["error"]) for row in trainings]
            found[budget, label] = {
                "params": mean(100 * float(row["shipped_params"]) for row in trainings),
                "macs": mean(100 * float(row["shipped_macs"]) for row in trainings),
                "error": mean(errors),
                "spread": stdev(errors) if len(errors) > 1 else 0.0,
                "seeds": len(errors),
            }
    return found


@styled()
def draw(points: dict[tuple[str, str], dict[str, float]]) -> Figure:
    """A panel for each pair of budgets: what is within both is shaded, a point a method, with its error."""
    figure = new_figure(4.2)
    panels = figure.subplots(1, len(PLANES), sharey=True)
    for axes, ((params, macs), budgets) in zip(panels, PLANES.items(), strict=True):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(1.4, 32)
        axes.set_ylim(3.3, 66)
        axes.fill_between([1e-3, 100 * params], 1e-3, 100 * macs, color=FEASIBLE, zorder=0)
        for number, method in enumerate(METHODS):
            for budget in budgets:
                point = points.get((budget, method))
                if point is None:
                    continue
                both = budget == budgets[0]
                axes.plot(
                    point["params"],
                    point["macs"],
                    marker(number),
                    color=colour(number),
                    mfc=colour(number) if both else CARD,
                    markersize=8,
                    zorder=3,
                )
                offset = THEIRS_ABOVE if number == 0 else OURS_BELOW
                axes.annotate(
                    f"{point['error']:.2f}",
                    (point["params"], point["macs"]),
                    offset,
                    textcoords="offset points",
                    color=INK,
                    fontsize=9,
                    zorder=4,
                )
        axes.set_title(f"{100 * params:g} % params, {100 * macs:g} % MACs")
        axes.set_xlabel("parameters (%)")
        log_ticks(axes.xaxis)
        log_ticks(axes.yaxis)
    panels[0].set_ylabel("MACs (%)")
    series = [
        axes.plot([], [], marker(number), color=colour(number), label=method)[0]
        for number, method in enumerate(METHODS)
    ]
    asked = [
        axes.plot([], [], "o", color=INK, mfc=face, label=label)[0]
        for face, label in ((INK, "asked for both"), (CARD, "asked for one"))
    ]
    legend_above(figure, panels[0], [*series, *asked], own=True, columns=3)
    return figure


def page(rows: list[Row], points: dict[tuple[str, str], dict[str, float]]) -> str:
    """The same in numbers, with the layers that are left and what others published."""
    columns = (
        "asked",
        "method",
        "parameters",
        "MACs",
        "what is left (conv1-conv2-fc1 reads-fc1)",
        "test error",
        "seeds",
    )
    lines = head(columns)
    asked = dict.fromkeys(budget for budgets in PLANES.values() for budget in budgets)
    for budget in sorted(asked, key=lambda name: ("," in name, name)):
        words = budget.removeprefix("lenet5 ")
        for method in METHODS:
            point = points.get((budget, method))
            if point is None:
                continue
            kept = next(str(row["kept"]) for row in rows if (row["budget"], row["label"]) == (budget, method))
            error = f"{point['error']:.2f} ± {point['spread']:.2f} %"
            shares = (f"{point['params']:.1f} %", f"{point['macs']:.1f} %")
            lines.append(line([words, method, *shares, architecture(kept), error, str(point["seeds"])]))
        for row in published([budget], "mnist"):
            if "shipped_macs" in row:
                shares = (f"{float(row['shipped_params']):.1%}", f"{float(row['shipped_macs']):.1%}")
                error = f"{100 * float(row['error']):.2f} %"
                lines.append(
                    line([words, f"*{row['label']}, published*", *shares, "–", error, str(row.get("seeds", "–"))])
                )
    return (
        "# Two budgets at once\n\nLeNet-5 on MNIST, 15 epochs, made by `python figures/plane.py` from the rows of "
        "[the study](study/table.md); layers are those of the first seed.\n\n"
        "![What each method ships and its error, under one budget and under two](plane.png)\n\n"
        + "\n".join(lines)
        + "\n"
    )


def main() -> None:
    study = Study.read("mnist")
    rows = [row for row in finished(FOLDER, study) if row["model"] == "lenet5"]
    if not rows:
        raise SystemExit(f"{FOLDER / CELLS}: no training of LeNet-5 has finished; run lzero study mnist first")
    points = means(rows)
    save(draw(points), HERE / "plane.png")
    write_text(HERE / "plane.md", page(rows, points))


if __name__ == "__main__":
    main()
