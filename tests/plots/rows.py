"""Rows that every figure can be drawn from, the figures, and what the tests read off them."""

from lzero import plots


def run(end, epochs=8, **extra):
    rows = []
    for epoch in range(1, epochs + 1):
        left = 1 - epoch / epochs
        rows.append(
            {
                "epoch": epoch,
                "deployed": end + (1 - end) * left,
                "expected": end + (0.9 - end) * left,
                "multiplier": 0.1 * epoch,
                "loss": 2.0 * 0.5**epoch,
                "error": 0.02 + 0.5 * left,
                **extra,
            }
        )
    return rows


RUNS = {"constrained": run(0.1, annealed_target=0.5), "penalized λ = 1": run(0.3)}
POINTS = [
    {"method": method, "asked": asked, "shipped": asked * factor, "error": 0.02 + 0.001 / asked, "seed": seed}
    for method, factor in (("constrained", 1.0), ("penalized", 0.6))
    for asked in (0.1, 0.2, 0.5)
    for seed in (0, 1, 2)
]
LAYERS = [{"layer": "fc1", "kept": 214, "total": 300}, {"layer": "conv1", "kept": 1, "total": 20}]
HISTOGRAMS = [
    {"epoch": epoch, **{f"p_{bin:02d}": 100 if bin == epoch else 5 for bin in range(20)}} for epoch in range(1, 6)
]
FRONT = [
    {"label": label, "cut": cut, "asked": x, "params": x, "macs": x + 0.1, "milliseconds": ms, "evaluation": value}
    for label, cut, worse in (("one training, cut at other budgets", 1, 0.01), ("trained", 0, 0.0))
    for x, ms, value in ((0.5, 3.0, 0.01 + worse), (0.1, 1.0, 0.03 + worse))
]

FIGURES = {
    "dynamics": lambda: plots.dynamics(RUNS, 0.1),
    "dynamics_missing": lambda: plots.dynamics({"only": [{"step": 3, "loss": 0.4}]}, 0.1),
    "control": lambda: plots.control(POINTS),
    "control_log": lambda: plots.control(POINTS, log=True),
    "trade_off": lambda: plots.trade_off(POINTS),
    "trade_off_log": lambda: plots.trade_off(POINTS, log_x=True),
    "architecture": lambda: plots.architecture(LAYERS),
    "front": lambda: plots.front(FRONT, scale=100),
    "gate_histogram": lambda: plots.gate_histogram(HISTOGRAMS),
}


def line(axes, label, dashed=False):
    found = [one for one in axes.get_lines() if one.get_label() == label and (one.get_linestyle() != "-") == dashed]
    assert len(found) == 1
    return found[0]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def legend_labels(figure):
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]
