"""The curves of the target that the study of MNIST misses, the MLP at 7.6 %: missed.png.

    python figures/missed.py

Its best three methods, seed 0, from the rows of the study; the error is that of the validation set.
"""

from script import HERE

from lzero import plots
from lzero.recorder import Recorder
from lzero_lab.studies.report import finished
from lzero_lab.studies.study import Study

BUDGET, TARGET = "mlp 7.6 % params", 0.076
METHODS = ("hard concrete, constrained, each example", "SBP, constrained", "magnitude, gradual")


def main() -> None:
    cells = {
        row["label"]: row["cell"]
        for row in finished(HERE / "study", Study.read("mnist"))
        if row["budget"] == BUDGET and row["seed"] == 0
    }
    epochs = Recorder.from_csv(HERE / "study" / "epochs.csv").rows
    runs = {method: [row for row in epochs if row["cell"] == cells[method]] for method in METHODS}
    figure, _ = plots.dynamics(runs, TARGET, error_label="validation error")
    plots.save(figure, HERE / "missed.png")


if __name__ == "__main__":
    main()
