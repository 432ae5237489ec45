"""The rows of the benchmark: to and from CSV, as a markdown table, as a figure."""

import csv
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from matplotlib.figure import Figure

from lzero.latency.timer import device_name


@dataclass
class Row:
    """One number.

    Attributes:
        what: kind of measurement, such as ``step``.
        network, granularity: what of; empty where it is of none.
        value, low, high: the median, and the quartiles beside it where it was repeated.
        unit: of the value; ``x`` for a ratio to the network without gates.
        most: what is aimed at; None where nothing is.
        base: the median of what a ratio was taken to, in ms.
        repeats: how often it was measured.
        machine: processor, cores, threads, torch, device.
    """

    what: str
    network: str
    granularity: str
    value: float
    low: float | None = None
    high: float | None = None
    unit: str = ""
    most: float | None = None
    base: float | None = None
    repeats: int = 1
    machine: str = ""

    @property
    def met(self):
        """Whether the target is met; None where there is none."""
        return None if self.most is None else self.value <= self.most


def machine(device="cpu"):
    """What the numbers were measured on, in one line."""
    name = device_name(torch.device("cpu"))
    card = device_name(torch.device(device)) if device != "cpu" else "cpu"
    threads = torch.get_num_threads()
    words = f"{threads} thread{'s' if threads > 1 else ''}"
    return f"{name}; {os.cpu_count()} cores; {words}; torch {torch.__version__}; {card}"


def write(rows, path):
    """Write ``rows`` as CSV."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            shown = asdict(row)
            writer.writerow({name: f"{v:.5g}" if isinstance(v, float) else v for name, v in shown.items()})


def read(path):
    """The rows of a CSV."""
    numbers = {"value", "low", "high", "most", "base"}
    with Path(path).open(newline="", encoding="utf-8") as file:
        made = []
        for line in csv.DictReader(file):
            line |= {name: float(line[name]) if line[name] else None for name in numbers}
            made.append(Row(**{**line, "repeats": int(line["repeats"])}))
        return made


TITLES = {
    "step": "Training step, eager: gated over dense",
    "compiled": "Training step, compiled: gated over compiled dense",
    "solver": "One `solver.step()`, alone and within a training",
    "operations": "Operations of one `solver.step()`",
    "waits": "Waits for the device in one `solver.step()`",
    "bytes": "Bytes a gate beyond Adam's two moments",
    "import": "Importing",
    "attach": "attach_gates",
    "discover": "discover",
    "purge": "purge",
}


def markdown(rows):
    """One table a kind of measurement, below the machine."""
    lines = [
        "# Benchmark",
        "",
        "Made by `make bench` from [bench.csv](bench.csv). Medians; in brackets the quartiles.",
        "",
    ]
    lines += [f"- {name}" for name in dict.fromkeys(row.machine for row in rows)]
    for what in dict.fromkeys(row.what for row in rows):
        lines += ["", f"## {TITLES.get(what, what)}", ""]
        lines += ["| network | gates | measured | dense | aimed at |", "|---|---|---:|---:|---:|"]
        lines += [_line(row) for row in rows if row.what == what]
    return "\n".join(lines) + "\n"


def _line(row):
    spread = "" if row.low is None else f" ({_number(row.low)} to {_number(row.high)})"
    unit = "x" if row.unit == "x" else f" {row.unit}" if row.unit else ""
    base = "" if row.base is None else f"{row.base:.3g} ms"
    most = "" if row.most is None else f"{'met' if row.met else '**missed**'}, {row.most:g}"
    return f"| {row.network} | {row.granularity} | {_number(row.value)}{unit}{spread} | {base} | {most} |"


def _number(value):
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def figure(rows):
    """Ratios of the training step with their quartiles, and the targets as ticks."""
    shown = [row for row in rows if row.unit == "x"]
    if not shown:
        return None
    made = Figure(figsize=(9, 1.2 + 0.3 * len(shown)), layout="constrained")
    axes = made.subplots()
    colours = {"unit": "#0072b2", "input": "#009e73", "weight": "#d55e00"}
    for place, row in enumerate(shown):
        spread = [[row.value - row.low], [row.high - row.value]] if row.low is not None else None
        filled = "white" if row.what == "compiled" else colours[row.granularity]
        axes.errorbar(
            row.value, place, xerr=spread, fmt="o", color=colours[row.granularity], markerfacecolor=filled, capsize=3
        )
        if row.most is not None:
            axes.plot([row.most] * 2, [place - 0.3, place + 0.3], color="#1f2328", linewidth=2)
    names = [f"{r.network}, {r.granularity}{', compiled' if r.what == 'compiled' else ''}" for r in shown]
    axes.set_yticks(range(len(shown)), names)
    axes.invert_yaxis()
    axes.axvline(1, color="#5c636b", linewidth=0.8)
    axes.grid(axis="x", color="#dfe1e3", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("time of a training step over that without gates (dots: median and quartiles; bars: aimed at)")
    return made
