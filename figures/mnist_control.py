"""Asked against shipped on MNIST, with the same question put to λ: mnist_control.csv, .png and .md.

    python figures/mnist_control.py --data-dir <folder with MNIST's IDX files>

Both networks of the papers, five targets, model-wide and for every layer on its own, with the command line's defaults;
and a grid of penalties, which have no target: what they ship is what one gets. Short trainings (`EPOCHS`): the question
is the density, not the error. Beside ours the tables of the official constrained code (arXiv 2208.04425), marked as
published. Trainings that the CSV holds are skipped.
"""

import itertools

from script import HERE, parser

from lzero.plots import control, save
from lzero_lab.files import write_text
from lzero_lab.studies.cell import Cell
from lzero_lab.studies.cells import run_cells
from lzero_lab.training.recipe import Recipe

EPOCHS = {"mlp": 8, "lenet5": 3}
TARGETS = (0.2, 0.35, 0.5, 0.65, 0.8)
COEFFICIENTS = (1e-4, 1e-3, 1e-2, 0.1, 1.0)
SCOPES = {"model": "model-wide", "layer": "layer-wise"}
# asked -> shipped parameters, shipped MACs (None: not given) after 200 epochs
PUBLISHED = {
    ("mlp", "model"): ((0.128, 0.129), (0.301, 0.302), (0.497, 0.498), (0.656, 0.656), (0.771, 0.771)),
    ("mlp", "layer"): ((0.034, None), (0.106, None), (0.236, None), (0.424, None), (0.655, None)),
    ("lenet5", "model"): ((0.166, 0.737), (0.314, 0.855), (0.494, 0.902), (0.696, 0.944), (0.919, 0.985)),
}


def main() -> None:
    options = parser(__doc__).parse_args()
    cells = [
        Cell("mnist", Recipe(model, granularity="input", epochs=EPOCHS[model], **values), options.data_dir)
        for model in EPOCHS
        for values in (
            [{"target": target, "scope": scope} for scope, target in itertools.product(SCOPES, TARGETS)]
            + [{"method": "penalized", "coefficient": coefficient} for coefficient in COEFFICIENTS]
        )
    ]
    rows = run_cells(cells, HERE / "mnist_control.csv", workers=options.workers, progress=report).rows
    write_text(HERE / "mnist_control.md", table(rows))
    save(control(points(rows))[0], HERE / "mnist_control.png")


def report(row: dict) -> None:
    print(
        " ".join(
            f"{name}={row.get(name)}"
            for name in ("model", "scope", "asked", "coefficient", "before_settling", "shipped")
        )
    )


def table(rows: list[dict]) -> str:
    """Asked, shipped and published, a line a training; then the grid of penalties."""
    lines = [
        "# MNIST: asked and shipped",
        "",
        "| network | budget | asked | before settling | shipped params | shipped MACs "
        "| published: shipped params | published: MACs |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for model, scope in itertools.product(EPOCHS, SCOPES):
        for place, target in enumerate(TARGETS):
            row = next((r for r in rows if (r["model"], r["scope"], r.get("asked")) == (model, scope, target)), None)
            if row is None or "shipped" not in row:
                continue
            theirs = PUBLISHED.get((model, scope), ((None, None),) * len(TARGETS))[place]
            trained = f"{row['before_settling']:.1%}" if scope == "model" else "–"
            lines.append(
                f"| {model} | {SCOPES[scope]} | {target:.0%} | {trained} | {row['shipped_params']:.2%} "
                f"| {row['shipped_macs']:.1%} | {percent(theirs[0])} | {percent(theirs[1])} |"
            )
    lines += ["", "| network | λ | shipped params | shipped MACs |", "|---|---:|---:|---:|"]
    for model, coefficient in itertools.product(EPOCHS, COEFFICIENTS):
        row = next(
            (r for r in rows if (r["model"], r["method"], r["coefficient"]) == (model, "penalized", coefficient)), None
        )
        if row is not None and "shipped" in row:
            lines.append(f"| {model} | {coefficient:g} | {row['shipped_params']:.2%} | {row['shipped_macs']:.1%} |")
    return "\n".join(lines) + "\n"


def percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def points(rows: list[dict]) -> list[dict]:
    """The model-wide trainings and the published ones, for the figure."""
    ours = [
        {"method": row["model"], "asked": row["asked"], "shipped": row["shipped_params"]}
        for row in rows
        if row["method"] == "constrained" and row["scope"] == "model" and "shipped" in row
    ]
    theirs = [
        {"method": model, "asked": asked, "shipped": shipped, "published": 1}
        for (model, scope), shares in PUBLISHED.items()
        if scope == "model"
        for asked, (shipped, _) in zip(TARGETS, shares, strict=True)
    ]
    return ours + theirs


if __name__ == "__main__":
    main()
