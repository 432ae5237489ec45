"""What figures look like when all is well, and when something is off: the reading-*.png of docs/figures.md.

    python figures/reading.py

Short trainings of an MLP on digits, half a minute together: as they should be; one that ends before its target has come
down; one whose gates are too slow; one that is asked for the target at once; one under a penalty that closes a layer;
and one with two budgets.
"""

import warnings

import torch
from script import HERE, parser
from torch.nn import functional as F

import lzero
from lzero import plots
from lzero_lab.datasets import load
from lzero_lab.datasets.dataset import batches
from lzero_lab.models import MLP
from lzero_lab.training.evaluation import error, histogram
from lzero_lab.training.runtime import configure_cpu

EPOCHS, BATCH, TARGET = 30, 32, 0.1


def trained(data, build):
    """Rows of one training, one an epoch, and what it ships; ``build(gates, steps)`` is what trains the gates."""
    torch.manual_seed(0)
    model = MLP(64)
    gates = lzero.attach_gates(model, data.train_x[:2], granularity="input")
    trainer = build(gates, EPOCHS * -(-len(data.train_x) // BATCH))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    order, rows = torch.Generator().manual_seed(0), lzero.Recorder()
    for epoch in range(EPOCHS):
        model.train()
        losses = []
        for x, y in batches(data.train_x, data.train_y, BATCH, order):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            trainer.step()
            optimizer.step()
            losses.append(loss.detach())
        measured = {"loss": torch.stack(losses).mean(), "error": error(model, data.validation_x, data.validation_y)}
        rows.append(epoch=epoch + 1, **measured, **trainer.metrics(), **histogram(gates.probability().detach()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lzero.LzeroWarning)  # some of them go wrong on purpose
        return rows, lzero.purge(model)


def layers(result):
    """What :func:`lzero.plots.architecture` draws of a purged model."""
    return [{"layer": name, "kept": int(mask.sum()), "total": len(mask)} for name, mask in result.kept.items()]


def budget(**options):
    """A Solver for the target."""
    return lambda gates, steps: lzero.Solver(gates, TARGET, **({"total_steps": steps} | options))


def main() -> None:
    parser(__doc__, data_dir=False, workers=False).parse_args()
    configure_cpu(threads=1)
    data = load("digits")
    steps = EPOCHS * -(-len(data.train_x) // BATCH)
    ways = {
        "as it should be": budget(),
        "ends too early": budget(total_steps=4 * steps),
        "gates too slow": budget(gate_lr=2e-3),
        "no annealing": budget(schedule="fixed"),
    }
    runs = {name: trained(data, build) for name, build in ways.items()}
    for name, (_, result) in runs.items():
        wrong = error(result.model, data.validation_x, data.validation_y)
        print(f"{name}: validation error of what is shipped {wrong:.1%}", result.certificate, sep="\n")
    save(plots.dynamics({name: rows for name, (rows, _) in runs.items()}, TARGET), "dynamics")
    save(plots.gate_histogram(runs["as it should be"][0]), "histogram")
    save(plots.gate_histogram(runs["gates too slow"][0]), "histogram-slow")
    save(plots.architecture(layers(runs["as it should be"][1])), "architecture")
    _, dead = trained(data, lambda gates, steps: lzero.Penalty(gates, 10.0, total_steps=steps))
    save(plots.architecture(layers(dead)), "architecture-dead")

    asked = [lzero.Constraint(TARGET), lzero.Constraint(0.5, within="fc2")]
    rows, _ = trained(data, lambda gates, steps: lzero.Solver(gates, constraints=asked, total_steps=steps))
    names = ("params", "params/fc2")
    parts = {name: [part(row, name) for row in rows] for name in names}
    save(plots.dynamics(parts), "multipliers")


def part(row, name):
    """The columns of one budget of several, under the names that a single one has."""
    mine = {column.removeprefix(f"{name}:"): value for column, value in row.items() if column.startswith(f"{name}:")}
    mine["deployed"] = mine["strict_violation"] + mine["target"]
    mine["expected"] = mine["violation"] + mine["target"]
    return {"epoch": row["epoch"], "loss": row["loss"], "error": row["error"], **mine}


def save(drawn, name):
    plots.save(drawn[0], HERE / f"reading-{name}.png")


if __name__ == "__main__":
    main()
