"""Contents of reports without any training: plain numbers that a certificate, a table and rows may hold."""

from lzero.certificate import Certificate
from lzero.latency.again import Latency
from lzero.plan.refusal import Refusal
from lzero.report import Content, Timing
from lzero.table import Layer, Table

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


def certificate(**changed):
    values = {
        "asked": {"params": 0.1234, "macs, conv2": 0.4321},
        "expected": {"params": 0.1299, "macs, conv2": 0.4411},
        "before_settling": {"params": 0.1277, "macs, conv2": 0.4399},
        "deployed": {"params": 0.1228, "macs, conv2": 0.4317},
        "threshold": 0.4875,
        "moved": 17,
        "parameters": 32_741,
        "parameters_before": 266_610,
        "largest_difference": 3.2e-7,
        "spare": {"params": 0.81, "macs, conv2": 0.27},
        "round_to": {"": 8, "conv2": 4},
        "warnings": ("settling, and not the training, has chosen what is shipped: train for more steps",),
        "latency": Latency(6.125, 2.375, 6.25, 2.5, "a card", 2, 64),
    }
    return Certificate(**{**values, **changed})


def table(count=3, refused=2):
    layers = [
        Layer(f"block.{number}.fc", 10_100, 4_000 + number, 10_000, 3_900 + number, 100, 40 + number % 7)
        for number in range(count)
    ]
    layers.append(Layer("head", 1_010, 410, 1_000, 400))
    reasons = [Refusal(f"norm{number}", 64, (), "a norm takes statistics over it") for number in range(refused)]
    return Table(tuple(layers), tuple(reasons), 123_456_789, 23_456_789)


def rows(epochs=12, **more):
    found = []
    for epoch in range(1, epochs + 1):
        left = 1 - epoch / epochs
        row = {"epoch": epoch, "step": 9 * epoch, "loss": 2 * 0.8**epoch, "error": 0.03 + 0.6 * left}
        row |= {"deployed": 0.12 + 0.8 * left, "expected": 0.13 + 0.7 * left, "target": 0.1234}
        row |= {"annealed_target": 0.1234 + 0.8 * left, "multiplier": 0.1 * epoch, "multiplier_loss_units": 0.2 * epoch}
        row |= {f"p_{number:02d}": 3 * epoch if number in (0, 19) else 36 - 3 * epoch for number in range(20)}
        found.append({**row, **more})
    return found


def several(epochs=6):
    """Rows of a training with three budgets."""
    found = []
    for row in rows(epochs):
        kept = {name: row[name] for name in ("epoch", "loss", "error", "deployed", "expected")}
        for number, name in enumerate(("params", "macs", "params, fc1")):
            kept |= {f"{name}:target": 0.2 + 0.1 * number, f"{name}:multiplier": float(number)}
            kept |= {f"{name}:violation": row["expected"] - 0.2, f"{name}:strict_violation": row["deployed"] - 0.2}
        found.append(kept)
    return found


FRONT = [
    {"label": "one training", "cut": 1, "measure": "params", "asked": x, "shipped": x, "params": x, "macs": x, **more}
    for x, more in (
        (0.5, {"milliseconds": 3.0, "evaluation": 0.02, "parameters": 5}),
        (0.2, {"milliseconds": 1.5, "evaluation": 0.05, "parameters": 2}),
    )
]
MODELS = [
    {"method": method, "asked": asked, "shipped": asked - 0.001, "error": 0.02, "seed": seed, "parameters": 99}
    for method in ("constrained", "penalized")
    for asked in (0.1, 0.5)
    for seed in (0, 1)
]


def in_words(**changed):
    """The same without a figure, which is what takes time."""
    return content(**{"rows": (), "points": (), **changed})


def content(**changed):
    values = {
        "title": "LeNet-5 on digits",
        "subtitle": "constrained",
        "notes": ["a first note"],
        "certificate": certificate(),
        "layers": table(),
        "rows": rows(),
        "points": MODELS,
        "results": {"Test error": "2.89%"},
        "timings": [Timing("batch 32", 1.75, 0.5)],
        "timed_on": "a quiet machine",
        "configuration": {"data": "digits", "recipe": {"lr": 7e-4, "scope": {"conv2": 0.5}, "ignore": []}},
    }
    return Content(**{**values, **changed})
