"""How much of its MACs a purged network saves in milliseconds, by what its widths are multiples of.

    python benchmarks/widths.py [--only LeNet-5 ResNet-18 ViT GPT staircase] [--threads 1] [--compile] [--repeats 30]
                                [--out widths.csv]

A LeNet-5, a ResNet-18, a ViT and a GPT for images of 28x28 or 32x32 and 64 tokens, on random weights: gates closed at
random, settled at 50, 25 and 10 % of the MACs with `round_to` 1, 8 and 16, purged, and timed against the whole network
in inference, batch 1 and 32, in turns. `of_macs` is 1 where a network with a tenth of the MACs is ten times as fast. A
density that one step of every group is more than has no row. The staircase is a 3x3 convolution of as many channels in
as out on 32x32, batch 32, one row a width, all widths in turns. One thread. Rows are appended as they come, and those
that the file has already, of this machine, are left out.
"""

import argparse
import copy
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from kept import append, read
from networks import CONTEXT, GPT, Network, ViT
from pairs import paired, quartiles, seconds_of
from rows import machine
from torch import nn

import lzero
from lzero_lab.models import LeNet5, ResNet

NETWORKS = {
    "LeNet-5": Network(LeNet5, 32, (1, 28, 28), ("unit",), {}),
    "ResNet-18": Network(lambda: ResNet(3, (64, 128, 256, 512), blocks=2), 32, (3, 32, 32), ("unit",), {}),
    "ViT": Network(lambda: ViT(width=192, heads=6, depth=6), 32, (3, 32, 32), ("unit",), {}),
    "GPT": Network(lambda: GPT(width=256, heads=8, depth=4), 32, (CONTEXT,), ("unit",), {}),
}
DENSITIES, ROUND_TO, BATCHES = (0.5, 0.25, 0.1), (1, 8, 16), (1, 32)
WIDTHS = range(8, 97)  # of the staircase
STAIRCASE = "staircase"
EAGER, COMPILED = "eager", "compiled"
PLACE = Path(__file__).with_suffix(".csv")


@dataclass
class Row:
    """One time.

    Attributes:
        network: its name, or ``staircase``.
        batch: examples of a forward.
        asked: density of the MACs; of the staircase the number of channels, and those of its widest for the whole.
        round_to: what the widths are multiples of.
        shipped: density of the MACs that the network has.
        dense: milliseconds of the whole network, the median.
        value: milliseconds, the median.
        ratio, low, high: of the two times, the median of the pairs and its quartiles; of the staircase of the times.
        of_macs: shipped / ratio.
        repeats: how many pairs.
        mode: ``eager`` or ``compiled``.
        machine: processor, cores, threads, torch, device.
    """

    network: str
    batch: int
    asked: float
    round_to: int
    shipped: float
    dense: float
    value: float
    ratio: float
    low: float
    high: float
    of_macs: float
    repeats: int
    mode: str
    machine: str

    @property
    def key(self):
        """What is measured once."""
        return self.network, int(self.batch), float(self.asked), int(self.round_to), self.mode, self.machine


def purged(dense, x, density, round_to):
    """``dense`` with gates closed at random, the same ones each time, and settled; the density that was shipped."""
    model = copy.deepcopy(dense)
    gates = lzero.attach_gates(model, x, round_to=round_to)
    with torch.no_grad():
        gates.log_alpha.normal_(generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lzero.LzeroWarning)  # nothing was trained
        result = lzero.purge(model, constraints=[lzero.Constraint(density, "macs")])
    return result.model.eval(), result.certificate.deployed["macs"]


def times(dense, small, x, repeats, mode):
    """Seconds of both, in pairs."""
    if mode == COMPILED:
        torch.compiler.reset()  # it would give up on a class that it has compiled for eight sizes
        dense, small = (torch.compile(model, dynamic=False) for model in (dense, small))
    with torch.inference_mode():
        return paired(lambda: dense(x), lambda: small(x), repeats, warm=3)


def network_rows(name, network, batches, densities, round_to, repeats, mode, done, where):
    """The rows of one network that are not there yet."""
    torch.manual_seed(0)
    dense = network.build().eval()
    for density in densities:
        for number in round_to:
            left = [batch for batch in batches if (name, batch, density, number, mode, where) not in done]
            if not left:
                continue
            try:
                small, shipped = purged(dense, network.data(batch=2)[0], density, number)
            except lzero.BudgetError as error:
                print(f"{name} at {density} in steps of {number}: {error}")
                continue
            for batch in left:
                pairs = times(dense, small, network.data(batch=batch)[0], repeats, mode)
                whole, part = (quartiles(column)[0] * 1e3 for column in zip(*pairs, strict=True))
                ratio, low, high = quartiles([other / base for base, other in pairs])
                found = (whole, part, ratio, low, high, shipped / ratio)
                yield Row(name, batch, density, number, shipped, *found, len(pairs), mode, where)


def staircase_rows(widths, repeats, done, where):
    """One row a width, all of them timed in turns."""
    widths = [width for width in widths if (STAIRCASE, 32, float(width), 1, EAGER, where) not in done]
    layers = [(nn.Conv2d(width, width, 3, padding=1).eval(), torch.randn(32, width, 32, 32)) for width in widths]
    found = {width: [] for width in widths}
    with torch.inference_mode():
        for turn in range(repeats + 2):
            for width, (layer, x) in zip(widths, layers, strict=True):
                seconds = seconds_of(lambda layer=layer, x=x: layer(x), block=3)
                if turn >= 2:
                    found[width].append(seconds * 1e3)
    whole = quartiles(found[widths[-1]])[0] if widths else 0.0
    for width in widths:
        middle, low, high = quartiles(found[width])
        shipped = (width / widths[-1]) ** 2
        ratios = (middle / whole, low / whole, high / whole)
        found_here = (whole, middle, *ratios, shipped / ratios[0])
        yield Row(STAIRCASE, 32, float(width), 1, shipped, *found_here, repeats, EAGER, where)


def write_page(path):
    """``widths.md`` beside the CSV at ``path``: how much of their MACs purged networks save in milliseconds."""
    rows = [row for row in read(Row, path) if row.network != STAIRCASE]
    lines = [
        "# Purged inference, and what widths are multiples of",
        "",
        f"Made by `python benchmarks/widths.py` from [{path.name}]({path.name}): time of the purged network over that",
        "of the whole one, and in brackets the ratio of the MACs over it: 1 where a tenth of the MACs takes a tenth of",
        "the time. Compiled: both of them by `torch.compile`. Medians of pairs.",
    ]
    for mode, where in sorted({(row.mode, row.machine) for row in rows}, key=lambda kind: (kind[0] != EAGER, kind[1])):
        lines += ["", f"## {mode.capitalize()}", "", f"{where}.", ""]
        lines += _table([row for row in rows if (row.mode, row.machine) == (mode, where)])
    stairs = [row for row in read(Row, path) if row.network == STAIRCASE]
    if stairs:
        said = ", ".join(f"{row.asked:.0f}: {row.value:.1f}" for row in stairs if row.asked % 8 in (0, 1))
        lines += ["", "## A staircase", ""]
        lines += [f"A 3x3 convolution on 32x32, batch 32, one thread, milliseconds by channels: {said}."]
    path.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _table(rows):
    """The lines of one table: a row a network, batch and density, a column for what widths are multiples of."""
    steps = sorted({row.round_to for row in rows})
    yield f"| network | batch | asked, of the MACs | whole, ms | {' | '.join(f'round_to={step}' for step in steps)} |"
    yield f"|---|---:|---:|---:|{'---:|' * len(steps)}"
    found = {(row.network, row.batch, row.asked, row.round_to): row for row in rows}
    for network, batch, asked in dict.fromkeys(key[:3] for key in found):
        cells = [found.get((network, batch, asked, step)) for step in steps]
        said = ["below the floor" if row is None else f"{row.ratio:.3f} ({row.of_macs:.2f})" for row in cells]
        whole = next(row.dense for row in cells if row is not None)
        yield f"| {network} | {batch} | {asked:.0%} | {whole:.3g} | {' | '.join(said)} |"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = (*NETWORKS, STAIRCASE)
    parser.add_argument("--only", nargs="+", default=names, choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--densities", nargs="+", type=float, default=DENSITIES)
    parser.add_argument("--round-to", nargs="+", type=int, default=ROUND_TO)
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES)
    parser.add_argument("--widths", nargs="+", type=int, default=WIDTHS, help="of the staircase")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="compiled networks in the place of eager ones")
    parser.add_argument("--repeats", type=int, default=30, help="pairs of blocks of forwards")
    parser.add_argument("--out", type=Path, default=PLACE, help="a CSV, which is gone on with")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    where, done = machine(), {row.key for row in read(Row, options.out)}
    mode = COMPILED if options.compile else EAGER
    for name in options.only:
        rows = (
            staircase_rows(options.widths, options.repeats, done, where)
            if name == STAIRCASE
            else network_rows(
                name,
                NETWORKS[name],
                options.batches,
                options.densities,
                options.round_to,
                options.repeats,
                mode,
                done,
                where,
            )
        )
        for row in rows:
            append(row, options.out)
            spread = f"{row.ratio:.3f} ({row.low:.3f} to {row.high:.3f}) of {row.dense:.3g} ms"
            print(
                f"{row.network:10} {row.mode} batch {row.batch} {row.asked:g} round_to {row.round_to} {spread}, "
                f"{row.shipped:.3f} of the MACs: {row.of_macs:.2f} of what they say",
                flush=True,
            )
    write_page(options.out)


if __name__ == "__main__":
    main()
