"""Error at a budget on MNIST: writes mnist.csv, a row a training, and prints the table of means.

    python figures/mnist.py --data-dir <folder with the four IDX files>

LeNet-5 takes some 20 minutes a training on one core; cells that mnist.csv already holds are skipped.
"""

import argparse
import os
from pathlib import Path
from statistics import mean, stdev

from lzero.experiments.cells import Cell, run_cells
from lzero.experiments.recipe import Recipe

HERE = Path(__file__).parent
# The MLP's gate rate and weight decay were chosen by hand, on the validation error of single runs (rates from 2e-3 to
# 2e-2, decays from 0 to 1e-4); what they differed by is within the spread over seeds.
NETWORKS = {
    "mlp": {"target": 0.266, "epochs": 60, "gate_lr": 5e-3, "weight_decay": 1e-5},
    "lenet5": {"target": 0.077, "epochs": 20},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=os.environ.get("LZERO_DATA", "data"))
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    cells = [
        Cell("mnist", Recipe(network, granularity="input", seed=seed, **recipe), options.data_dir)
        for network, recipe in NETWORKS.items()
        for seed in options.seeds
        if network in options.networks
    ]
    rows = run_cells(cells, HERE / "mnist.csv", workers=options.workers, progress=report).rows
    for network, recipe in NETWORKS.items():
        errors = [row["error"] for row in rows if row["model"] == network and "error" in row]
        if len(errors) > 1:
            print(
                f"{network}: shipped <= {recipe['target']:.1%} of the parameters, {recipe['epochs']} epochs, "
                f"{len(errors)} seeds: "
                f"test error {mean(errors):.2%} +- {stdev(errors):.2%}"
            )


def report(row: dict) -> None:
    print(
        " ".join(
            f"{name}={row.get(name)}" for name in ("model", "seed", "trained", "shipped", "error", "seconds", "problem")
        )
    )


if __name__ == "__main__":
    main()
