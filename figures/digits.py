"""Is what is asked what is shipped? 72 trainings on digits: writes digits.csv and control.png.

    python figures/digits.py

MLP 64-300-100-10, six targets, three seeds, parameters and MACs, model-wide and for every layer on its own, with the
defaults of `lzero train`. Shipped must lie at or below the target and within one unit of it: for a layer-wise budget
that no closed unit could be opened without breaking some layer's.
"""

import itertools

from script import HERE, parser

from lzero.plots import control, save
from lzero_lab.studies.cell import Cell
from lzero_lab.studies.cells import run_cells
from lzero_lab.training.recipe import Recipe

TARGETS = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8)
# Shipped by the official constrained code on MNIST's MLP, one training each (arXiv 2208.04425, its own tables).
PUBLISHED = ((0.2, 0.128), (0.35, 0.301), (0.5, 0.497), (0.65, 0.656), (0.8, 0.771))


def main() -> None:
    options = parser(__doc__, data_dir=False).parse_args()
    points = itertools.product(("model", "layer"), ("params", "macs"), TARGETS, range(3))
    cells = [
        Cell("digits", Recipe(target=target, measure=measure, scope=scope, seed=seed, epochs=200))
        for scope, measure, target, seed in points
    ]
    rows = run_cells(cells, HERE / "digits.csv", workers=options.workers).rows
    for scope, measure in itertools.product(("model", "layer"), ("params", "macs")):
        chosen = [row for row in rows if (row["scope"], row["measure"]) == (scope, measure)]
        exact = [row for row in chosen if row["slack"] >= 0 and row["within_one_unit"]]
        near = max(abs(row["before_settling"] - row["asked"]) for row in chosen)
        note = f"; before settling within {near:.2%} of the target" if scope == "model" else ""
        print(
            f"{scope}-wise, {measure}: {len(exact)} of {len(chosen)} at or below the target and within one unit{note}"
        )
    shown = [
        {"method": f"lzero, {row['measure']}", "asked": row["asked"], "shipped": row["shipped"]}
        for row in rows
        if row["scope"] == "model"
    ]
    name = "official code, MNIST"
    shown += [{"method": name, "asked": asked, "shipped": shipped, "published": 1} for asked, shipped in PUBLISHED]
    save(control(shown)[0], HERE / "control.png")


if __name__ == "__main__":
    main()
