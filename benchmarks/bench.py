"""What gates cost: time of a training step and of the solver's, operations, waits for the device, bytes, set-up.

    python benchmarks/bench.py [--only step MLP ...] [--repeats 80] [--compile] [--device cuda]

Writes bench.csv, bench.md and bench.png beside this script, or into --out. One thread.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import torch
from footprint import bytes_a_gate
from networks import NETWORKS, Chain, Network
from operations import Operations
from pairs import paired, quartiles, seconds_of
from rows import Row, figure, machine, markdown, write
from training import Training

import lzero

SOLVER_MS, OPERATIONS, WAITS, BYTES = 0.25, 45, 0, 24


def step_rows(name, network, granularity, repeats, device, compiled=None):
    """The training step, over that without gates."""
    dense, gated = (Training(network, kind, compiled=compiled, device=device) for kind in (None, granularity))
    pairs = paired(dense.step, gated.step, repeats, device)
    middle, low, high = quartiles([other / base for base, other in pairs])
    base = quartiles([base for base, _ in pairs])[0] * 1e3
    what, most = ("compiled", None) if compiled else ("step", network.most.get(granularity))
    yield Row(what, name, granularity, middle, low, high, "x", most, base, repeats)


def solver_rows(name, network, granularity, repeats, device):
    """The solver's step alone, and within a training, where the network has taken the caches."""
    training = Training(network, granularity, device=device)
    training.step()
    gradient, found = torch.randn_like(training.gates.log_alpha) * 1e-3, []
    for _ in range(10 + 5 * repeats):
        training.gates.log_alpha.grad = gradient.clone()
        found.append(seconds_of(training.solver.step, device) * 1e3)
    middle, low, high = quartiles(found[10:])
    most = None if granularity == "weight" else SOLVER_MS
    yield Row("solver", name, granularity, middle, low, high, "ms", most, repeats=5 * repeats)
    found = []
    for turn in range(5 + repeats):
        training.backward()
        if device != "cpu":
            torch.cuda.synchronize()
        seconds = seconds_of(training.solver.step, device)
        training.optimizer.step()
        if turn >= 5:
            found.append(seconds * 1e3)
    middle, low, high = quartiles(found)
    yield Row("solver", name, f"{granularity}, in training", middle, low, high, "ms", repeats=repeats)


def counted(training, close=None):
    """Operations of a solver's step, after a few; ``close`` shuts a whole group first."""
    for _ in range(4):
        training.step()
    if close is not None:
        with torch.no_grad():
            training.gates[close].fill_(-9.0)
    training.backward()
    with Operations() as operations:
        training.solver.step()
    return operations


def operation_rows(name, network, granularity, device):
    """Operations and waits with one budget, and with a budget a layer."""
    for each_layer in (False, True):
        kind = f"{granularity}, a budget a layer" if each_layer else granularity
        operations = counted(Training(network, granularity, each_layer=each_layer, device=device))
        most = None if each_layer or granularity == "weight" else OPERATIONS
        yield Row("operations", name, kind, len(operations.names), most=most)
        yield Row("waits", name, kind, len(operations.waits), most=WAITS)


def chain_rows(device):
    """120 groups, of which one is empty."""
    chain = Network(Chain, 8, (4,), ("unit",), {})
    training = Training(chain, "unit", device=device)
    operations = counted(training, close=next(iter(training.gates.slices)))
    kind = f"unit, {len(training.gates.sizes)} groups, one empty"
    yield Row("operations", "121 Linears", kind, len(operations.names), most=OPERATIONS)
    yield Row("waits", "121 Linears", kind, len(operations.waits), most=WAITS)


def seconds_rows(name, network, granularity):
    """Seconds to discover, attach and purge."""
    x, _ = network.data(batch=2)
    for what in ("discover", "attach", "purge"):
        model = network.build()
        if what == "purge":
            gates = lzero.attach_gates(model, x, granularity=granularity)
            with torch.no_grad():
                gates.log_alpha[::3] = -9.0
        started = time.perf_counter()
        if what == "discover":
            lzero.discover(model, x, granularity=granularity)
        elif what == "attach":
            lzero.attach_gates(model, x, granularity=granularity)
        else:
            lzero.purge(model, settle=False)
        yield Row(what, name, granularity, time.perf_counter() - started, unit="s")


def import_rows(repeats):
    """Seconds of ``import lzero``, and of the torch in it, each in processes of their own."""
    for module in ("torch", "lzero"):
        code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
        found = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(repeats)]
        middle, low, high = quartiles(found)
        yield Row("import", f"import {module}", "", middle, low, high, "s", repeats=repeats)


KINDS = ("step", "compiled", "solver", "operations", "bytes", "seconds", "import")


def measured(kinds, names, repeats, device, granularities=None):
    """The rows of all kinds and networks, one after the other."""
    for kind in kinds:
        if kind == "import":
            yield from import_rows(min(repeats, 5))
            continue
        for name in names:
            network = NETWORKS[name]
            short = max(3, repeats if name == "MLP" else repeats // 4)  # the others are slow
            for granularity in granularities or network.granularities:
                if granularity not in network.granularities:
                    continue
                if kind == "step":
                    yield from step_rows(name, network, granularity, short, device)
                elif kind == "compiled":
                    yield from step_rows(name, network, granularity, short, device, "inductor")
                elif kind == "solver":
                    yield from solver_rows(name, network, granularity, short, device)
                elif kind == "operations":
                    yield from operation_rows(name, network, granularity, device)
                elif kind == "bytes" and granularity == "weight":
                    training = Training(network, granularity, device=device, batch=4)
                    yield Row("bytes", name, granularity, bytes_a_gate(training), unit="bytes", most=BYTES)
                elif kind == "seconds":
                    yield from seconds_rows(name, network, granularity)
        if kind == "operations":
            yield from chain_rows(device)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME", help=f"of {', '.join((*KINDS, *NETWORKS))}")
    parser.add_argument(
        "--repeats", type=int, default=80, help="pairs of blocks of steps of the MLP; a quarter of the others"
    )
    parser.add_argument("--compile", action="store_true", help="torch.compile'd networks too, which takes minutes")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args(arguments)
    unknown = set(options.only) - {*KINDS, *NETWORKS}
    if unknown:
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    kinds = [k for k in KINDS if k in options.only] or [k for k in KINDS if k != "compiled" or options.compile]
    names = [name for name in NETWORKS if name in options.only] or list(NETWORKS)
    rows, where = [], machine(options.device)
    for row in measured(kinds, names, options.repeats, options.device):
        row.machine = where
        rows.append(row)
        spread = "" if row.low is None else f"({row.low:.3g} to {row.high:.3g})"
        most = "" if row.most is None else f"aimed at {row.most:g}" + ("" if row.met else ": MISSED")
        print(
            f"{row.what:10} {row.network:12} {row.granularity:28} {row.value:.4g} {row.unit} {spread} {most}",
            flush=True,
        )
    options.out.mkdir(parents=True, exist_ok=True)
    write(rows, options.out / "bench.csv")
    (options.out / "bench.md").write_text(markdown(rows), encoding="utf-8")
    drawn = figure(rows)
    if drawn is not None:
        drawn.savefig(options.out / "bench.png", dpi=100, facecolor="#fcfcfa")


if __name__ == "__main__":
    main()
