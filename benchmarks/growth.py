"""How what gates cost grows with the width of a network, its depth, and the number of groups.

    python benchmarks/growth.py [--only width depth groups] [--repeats 20] [--out growth.csv]

Chains of Linears and ReLUs on random data, batch 128. `width`: four hidden layers of more and more units. `depth`: more
and more hidden layers of 64 units. `groups`: the same 3,840 units in more and more layers, so that only the number of
groups grows. One row a size: milliseconds of a training step without gates and its ratio with them (pairs in turns, the
median), of `solver.step()` alone, and seconds to discover, attach, compact and purge, the least of three. The page and
the figure beside the CSV, growth.md and growth.png, are made anew at the end; rows that are there are left out.
"""

import argparse
import time
import warnings
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from kept import append, read
from matplotlib.figure import Figure
from networks import Network
from pairs import paired, quartiles, seconds_of
from rows import machine
from torch import nn
from training import Training

import lzero

IN, CLASSES, BATCH, UNITS = 32, 10, 128, 3840
SIZES = {
    "width": [(4, width) for width in (64, 128, 256, 512, 1024)],
    "depth": [(depth, 64) for depth in (4, 8, 16, 32, 64, 128)],
    "groups": [(groups, UNITS // groups) for groups in (4, 8, 16, 32, 64, 128)],
}
TIMES = ("discover", "attach", "compact", "purge")
PLACE = Path(__file__).with_suffix(".csv")
LABELS = {"width": "units of a layer", "depth": "hidden layers of 64", "groups": "groups of 3,840 units"}


@dataclass
class Row:
    """One size of one axis; times in ms, but those of the four verbs in seconds."""

    axis: str
    groups: int
    width: int
    params: int
    dense_ms: float
    ratio: float
    low: float
    high: float
    solver_ms: float
    discover: float
    attach: float
    compact: float
    purge: float
    machine: str

    @property
    def key(self):
        """What is measured once."""
        return self.axis, int(self.groups), int(self.width), self.machine

    @property
    def size(self):
        """Where it lies on its axis."""
        return self.width if self.axis == "width" else self.groups


def chain(depth, width):
    """``depth`` hidden layers of ``width`` units."""
    sizes = [IN, *[width] * depth]
    hidden = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(width, CLASSES))


def verb_seconds(build, x):
    """Seconds of the four verbs, each the least of three, with a third of the gates closed where that matters."""
    found = {name: [] for name in TIMES}

    def timed(name, call):
        started = time.perf_counter()
        result = call()
        found[name].append(time.perf_counter() - started)
        return result

    for _ in range(3):
        model = build()
        plan = timed("discover", lambda model=model: lzero.discover(model, x))
        gates = timed("attach", lambda model=model, plan=plan: lzero.attach_gates(model, plan))
        lzero.Solver(gates, target_density=0.5, total_steps=1000)
        optimizer = torch.optim.Adam(model.parameters())
        with torch.no_grad():
            gates.log_alpha[::3] = -9.0
        timed("compact", lambda model=model, optimizer=optimizer: lzero.compact(model, optimizer))
        timed("purge", lambda model=model: lzero.purge(model, settle=False))
    return {name: min(seconds) for name, seconds in found.items()}


def measured(axis, depth, width, repeats, where):
    """The row of one size."""
    torch.manual_seed(0)
    network = Network(lambda: chain(depth, width), BATCH, (IN,), ("unit",), {})
    dense, gated = Training(network), Training(network, "unit")
    pairs = paired(dense.step, gated.step, repeats)
    ratio, low, high = quartiles([other / base for base, other in pairs])
    gradient, alone = torch.randn_like(gated.gates.log_alpha) * 1e-3, []
    for _ in range(10 + 5 * repeats):
        gated.gates.log_alpha.grad = gradient.clone()
        alone.append(seconds_of(gated.solver.step) * 1e3)
    params = sum(p.numel() for p in dense.model.parameters())
    times = (quartiles([base for base, _ in pairs])[0] * 1e3, ratio, low, high, quartiles(alone[10:])[0])
    return Row(axis, depth, width, params, *times, **verb_seconds(network.build, dense.x[:2]), machine=where)


def write_page(path):
    """``growth.md`` and ``growth.png`` beside the CSV at ``path``."""
    rows = read(Row, path)
    lines = [
        "# How costs grow",
        "",
        f"Made by `python benchmarks/growth.py` from [{path.name}]({path.name}): chains of Linears and ReLUs, units",
        "gated, batch 128. The ratio is of a training step with gates and solver to the step without, the median of",
        f"pairs and in brackets the quartiles. {'; '.join(sorted({row.machine for row in rows}))}.",
        "",
        "![Training step, solver's step and the verbs, against width, depth and number of groups](growth.png)",
        "",
        "| | layers x units | parameters | step without, ms | with gates | solver.step, ms | discover, s | attach | "
        "compact | purge |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        times = " | ".join(f"{getattr(row, name):.3f}" for name in TIMES)
        ratio = f"{row.ratio:.2f}x ({row.low:.2f} to {row.high:.2f})"
        lines.append(
            f"| {row.axis} | {row.groups} x {row.width} | {row.params:,} | {row.dense_ms:.2f} | {ratio} | "
            f"{row.solver_ms:.3f} | {times} |"
        )
    path.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    figure(rows).savefig(path.with_suffix(".png"), dpi=100, facecolor="#fcfcfa")


def figure(rows):
    """Three columns, an axis of growth each: ratio of the step, the solver's step, the verbs."""
    made = Figure(figsize=(11, 7.5), layout="constrained")
    panels = made.subplots(3, len(SIZES), sharex="col", sharey="row", squeeze=False)
    colours = dict(zip(TIMES, ("#0072b2", "#009e73", "#d55e00", "#cc79a7"), strict=True))
    for column, axis in enumerate(SIZES):
        of_axis = sorted((row for row in rows if row.axis == axis), key=lambda row: row.size)
        sizes = [row.size for row in of_axis]
        top, middle, bottom = panels[:, column]
        spread = [[r.ratio - r.low for r in of_axis], [r.high - r.ratio for r in of_axis]]
        top.errorbar(sizes, [row.ratio for row in of_axis], spread, marker="o", color="#1f2328", capsize=3)
        middle.plot(sizes, [row.solver_ms for row in of_axis], marker="o", color="#1f2328")
        for name, colour in colours.items():
            bottom.plot(sizes, [getattr(row, name) for row in of_axis], marker="o", color=colour, label=name)
        top.set_xscale("log", base=2)
        bottom.set_xticks(sizes, [f"{size:g}" for size in sizes])
        bottom.set_yscale("log")
        bottom.set_xlabel(LABELS[axis])
    for panel, label in zip(panels[:, 0], ("step, gated / dense", "solver.step, ms", "seconds"), strict=True):
        panel.set_ylabel(label)
    for panel in panels.flat:
        panel.grid(color="#dfe1e3", linewidth=0.7)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels[0]:
        panel.set_ylim(bottom=1)
    for panel in panels[1]:
        panel.set_ylim(bottom=0)
    panels[2, 0].legend(frameon=False, fontsize="small")
    made.suptitle("What gates cost, by the size of the network", fontsize="medium")
    return made


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=list(SIZES), choices=SIZES)
    parser.add_argument("--repeats", type=int, default=20, help="pairs of blocks of steps")
    parser.add_argument("--most", type=int, help="leave out sizes of an axis above this")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).with_suffix(".csv"), help="a CSV, which is gone on with"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", lzero.LzeroWarning)  # nothing was trained
    torch.set_flush_denormal(True)
    where, done = machine(), {row.key for row in read(Row, options.out)}
    for axis in options.only:
        for depth, width in SIZES[axis]:
            size = width if axis == "width" else depth
            if (axis, depth, width, where) in done or (options.most is not None and size > options.most):
                continue
            row = measured(axis, depth, width, options.repeats, where)
            append(row, options.out)
            print(
                f"{axis:7}{depth:4} x {width:<5}{row.dense_ms:8.2f} ms {row.ratio:.2f}x, solver {row.solver_ms:.3f} ms"
            )
    write_page(options.out)


if __name__ == "__main__":
    main()
