"""Parameters, MACs and error of LeNet-5 under one budget and under two, MNIST: plane.png and plane.md.

    python figures/plane.py

Drawn from the rows of the study (`lzero study mnist`, or `make study`): means over seeds of what was shipped and of the
test error after the last epoch. Gates that meet a budget of parameters leave the convolutions wide, where magnitude
makes them narrow; a second budget, of the MACs, asks for both.
"""

from statistics import mean, stdev
from typing import Any

from matplotlib.figure import Figure
from script import HERE, head, line

from lzero.plots import save
from lzero.plots.style import CARD, INK, colour, legend_above, log_ticks, marker, new_figure, styled
from lzero.plots.table import grouped
from lzero.recorder import Row
from lzero_lab.files import write_text
from lzero_lab.studies.report import CELLS, architecture, finished, published
from lzero_lab.studies.study import Study

METHODS = ("hard concrete, constrained", "deterministic, constrained", "magnitude, gradual")
PARTS = {  # share of the parameters -> budgets that ask for it, alone and with MACs
    "7.7 %": ("lenet5 7.7 % params", "lenet5 7.7 % params, 14.9 % MACs"),
    "2.3 %": ("lenet5 2.3 % params", "lenet5 2.3 % params, 14.9 % MACs", "lenet5 2.3 % params, 6.7 % MACs"),
}
WORK = "lenet5 14.9 % MACs"  # asked for alone
Point = dict[str, float]
FOLDER = HERE / "study"


def means(rows: list[Row]) -> dict[tuple[str, str], Point]:
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
def draw(points: dict[tuple[str, str], Point]) -> Figure:
    """The plane of parameters and MACs, and for each share of the parameters the error by the MACs."""
    figure = new_figure(3.9)
    plane, *errors = figure.subplots(1, 1 + len(PARTS))
    for number, method in enumerate(METHODS):
        for budgets in (*PARTS.values(), (WORK,)):
            for budget in budgets:
                if (point := points.get((budget, method))) is not None:
                    plane.plot(point["params"], point["macs"], **look(number, alone="," not in budget))
    plane.set(xscale="log", yscale="log", xlabel="parameters (%)", ylabel="MACs (%)", title="what is shipped")
    plane.margins(0.1)
    log_ticks(plane.xaxis)
    log_ticks(plane.yaxis)
    for axes, (share, budgets) in zip(errors, PARTS.items(), strict=True):
        for number, method in enumerate(METHODS):
            found = [(budget, points[budget, method]) for budget in budgets if (budget, method) in points]
            found.sort(key=lambda pair: pair[1]["macs"])
            axes.plot([p["macs"] for _, p in found], [p["error"] for _, p in found], color=colour(number), lw=1)
            for budget, point in found:
                axes.errorbar(
                    point["macs"],
                    point["error"],
                    point["spread"],
                    elinewidth=1.2,
                    **look(number, alone="," not in budget),
                )
        axes.set(xscale="log", xlabel="MACs (%)", ylabel="test error (%)", title=f"{share} of the parameters")
        axes.margins(0.1)
        log_ticks(axes.xaxis)
    errors[1].sharey(errors[0])
    series = [plane.plot([], [], label=method, **look(number, alone=False))[0] for number, method in enumerate(METHODS)]
    asked = [
        plane.plot([], [], "o", color=INK, mfc=face, label=label)[0]
        for face, label in ((INK, "asked for both"), (CARD, "asked for one"))
    ]
    legend_above(figure, plane, [*series, *asked], own=True, columns=3)
    return figure


def look(number: int, *, alone: bool) -> dict[str, Any]:
    """How the points of a method look; hollow where one budget was asked for alone."""
    return {
        "marker": marker(number),
        "linestyle": "none",
        "color": colour(number),
        "mfc": CARD if alone else colour(number),
        "markersize": 8,
        "zorder": 3,
    }


def page(rows: list[Row], points: dict[tuple[str, str], Point]) -> str:
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
    asked = [WORK, *(budget for budgets in PARTS.values() for budget in budgets)]
    for budget in asked:
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
                shares = tuple(f"{100 * float(row[name]):.1f} %" for name in ("shipped_params", "shipped_macs"))
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
