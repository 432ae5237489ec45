"""What gates and solver cost in a training step: gated over ungated, the two timed in turns in one process.

python benchmarks/step_time.py
"""

import statistics
import time

import torch
from torch import nn

import lzero
from lzero.experiments.models import MLP, LeNet5

ROUNDS, STEPS, BATCH = 15, 20, 128


def stepper(model, gated):
    """One optimizer step of `model` on random images, with gates and solver or without."""
    x, y = torch.randn(BATCH, 1, 28, 28), torch.randint(0, 10, (BATCH,))
    if gated:
        gates = lzero.attach_gates(model, x[:2], granularity="input")
        solver = lzero.Solver(gates, target_density=0.3, total_steps=10_000)
    else:
        solver = None
    optimizer = torch.optim.Adam(model.parameters(), lr=7e-4)

    def step():
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        if solver is not None:
            solver.step()
        optimizer.step()

    return step


def milliseconds(step):
    """Mean time of one step over STEPS steps."""
    started = time.perf_counter()
    for _ in range(STEPS):
        step()
    return (time.perf_counter() - started) / STEPS * 1e3


def main():
    print(f"batch {BATCH}, {torch.get_num_threads()} threads, median of {ROUNDS} paired rounds of {STEPS} steps")
    for name, build in (("MLP 784-300-100", MLP), ("LeNet-5 20-50-800-500", LeNet5)):
        plain, gated = stepper(build(), False), stepper(build(), True)
        milliseconds(plain), milliseconds(gated)  # warm up
        pairs = [(milliseconds(plain), milliseconds(gated)) for _ in range(ROUNDS)]
        ratio = statistics.median(b / a for a, b in pairs)
        base = statistics.median(a for a, _ in pairs)
        print(f"{name}: {base:.2f} ms ungated, gated {ratio:.2f}x")


if __name__ == "__main__":
    main()
