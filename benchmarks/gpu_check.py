"""Everything that needs a CUDA device, in one run of a few minutes: checks, then the benchmark.

    python benchmarks/gpu_check.py --out gpu-check [--device cuda] [--only WORD ...] [--repeats 40] [--compile]

Prints a table, writes gpu-check.csv and the benchmark's files into --out, and exits with 1 where a check fails. With
``--device cpu`` it runs what needs no CUDA device.
"""

import argparse
import copy
import csv
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import bench
import gpu_cheaper
import gpu_streams
import torch
from gpu_training import (
    STEPS,
    NotHereError,
    built,
    check_target,
    data,
    needs_cuda,
    train,
    without_waiting,
)
from networks import NETWORKS, loss_of

import lzero
from lzero_lab.models import MLP


@dataclass(frozen=True)
class Result:
    """What a check found."""

    check: str
    outcome: str  # passed, failed, skipped
    seconds: float
    note: str = ""


def attach_on_the_device(device):
    """Attach, train and purge on the device."""
    notes = []
    for granularity in ("unit", "input", "weight"):
        model, gates, solver, optimizer = built(device, granularity=granularity)
        assert gates.log_alpha.device.type == device.type
        train(model, solver, optimizer, device)
        notes.append(f"{granularity}: {check_target(model)[1]}")
    return "; ".join(notes)


def move_after_attaching(device):
    """Attach on the CPU, then ``.to(device)``, then build the Solver."""
    model, gates, solver, optimizer = built(device, attach_on="cpu")
    assert gates.log_alpha.device.type == device.type
    train(model, solver, optimizer, device)
    return check_target(model)[1]


def move_after_the_solver(device):
    """Train on the CPU, move model and optimizer to the device in the middle, train on."""
    cpu = torch.device("cpu")
    model, gates, solver, optimizer = built(cpu)
    log_alpha = gates.log_alpha
    train(model, solver, optimizer, cpu, STEPS // 2)
    model.to(device)
    optimizer.load_state_dict(optimizer.state_dict())  # the state follows its parameters
    train(model, solver, optimizer, device, STEPS // 2)
    assert gates.log_alpha is log_alpha and log_alpha.device.type == device.type
    assert solver.steps == STEPS and solver.skipped == 0
    return check_target(model)[1]


def half_precision_with_a_scaler(device):
    """AMP in float16 with a GradScaler; one overflow is forced, skipped and counted."""
    needs_cuda(device)
    model, gates, solver, optimizer = built(device)
    scaler, (x, y) = torch.amp.GradScaler("cuda"), data(device)
    forced = 5
    for step in range(STEPS):
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.float16):
            loss = loss_of(model, x, y)
        before, skipped = gates.log_alpha.detach().clone(), solver.skipped
        scaler.scale(loss * (math.inf if step == forced else 1.0)).backward()
        scaler.unscale_(optimizer)
        solver.step(scaler=scaler)
        scaler.step(optimizer)
        scaler.update()
        if step == forced:
            assert solver.skipped == skipped + 1, "the overflow was not counted"
            assert torch.equal(before, gates.log_alpha), "the gates moved in a step that overflowed"
    assert bool(gates.log_alpha.isfinite().all())
    assert 1 <= solver.skipped < STEPS // 2
    return f"{solver.skipped} of {STEPS} steps skipped; {check_target(model)[1]}"


def bfloat16_autocast(device):
    """Autocast to bfloat16, without a scaler."""
    model, gates, solver, optimizer = built(device)
    x, y = data(device)
    for _ in range(STEPS):
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16):
            loss = loss_of(model, x, y)
        loss.backward()
        solver.step()
        optimizer.step()
    assert gates.log_alpha.dtype is torch.float32 and solver.skipped == 0
    return check_target(model)[1]


def compiled(device):
    """torch.compile by inductor (on a CPU by aot_eager): gradients of the eager model, no graph break, the target."""
    backend = "inductor" if device.type == "cuda" else "aot_eager"
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    model, gates, solver, optimizer = built(device, MLP)
    x, y = data(device)
    forward = torch.compile(model, backend=backend, fullgraph=True)
    noise = type(gates.estimator).noise
    try:
        type(gates.estimator).noise = lambda self, like: torch.linspace(-2, 2, len(like), device=like.device)
        found = []
        for one in (model, forward):
            gates.log_alpha.grad = None
            loss_of(one, x, y).backward()
            found.append(gates.log_alpha.grad)
    finally:
        type(gates.estimator).noise = noise
    torch.testing.assert_close(found[1], found[0], rtol=1e-2, atol=1e-5)
    torch._dynamo.reset()
    forward = torch.compile(model, backend=backend, fullgraph=True)
    gates.log_alpha.grad = None
    losses = train(model, solver, optimizer, device, forward=forward)
    assert len(set(losses)) == len(losses), "two steps had the same draw"
    assert not counters["graph_break"]
    return f"{backend}; {check_target(model)[1]}"


def no_waiting(device):
    """``solver.step()`` does not wait for the device, once it is warm."""
    needs_cuda(device)
    budgets = {"one": [lzero.Constraint(0.5)], "each layer": [lzero.Constraint(0.5, each_layer=True)]}
    for name, budget in budgets.items():
        for granularity in ("unit", "input", "weight"):
            model, gates, solver, optimizer = built(device, granularity=granularity)
            solver = lzero.Solver(gates, constraints=budget, total_steps=1000, fresh=True)
            train(model, solver, optimizer, device, 10)
            x, y = data(device)
            for _ in range(20):  # the fiftieth step looks at the count of skipped ones
                optimizer.zero_grad()
                loss_of(model, x, y).backward()
                with without_waiting(f"{name}, {granularity}"):
                    solver.step()
                optimizer.step()
    return "one budget and one a layer; unit, input and weight"


def no_waiting_in_the_forward(device):
    """Draw and backward of gates do not wait for the device either."""
    needs_cuda(device)
    model, _gates, solver, optimizer = built(device)
    train(model, solver, optimizer, device, 10)
    x, y = data(device)
    optimizer.zero_grad()
    with without_waiting("backward"):
        loss_of(model, x, y).backward()
    return ""


def deterministic(device):
    """Two runs from one seed are equal to the bit."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        found = []
        for _ in range(2):
            model, gates, solver, optimizer = built(device, MLP)
            torch.manual_seed(3)
            losses = train(model, solver, optimizer, device)
            found.append((losses, gates.log_alpha.detach().cpu(), [p.detach().cpu() for p in model.parameters()]))
    finally:
        torch.use_deterministic_algorithms(before)
    assert found[0][0] == found[1][0], "the losses differ"
    assert torch.equal(found[0][1], found[1][1]), "the gates differ"
    assert all(torch.equal(one, two) for one, two in zip(found[0][2], found[1][2], strict=True)), "the weights differ"
    return f"{STEPS} steps"


def equal_to_the_cpu(device):
    """The trajectory of the CPU with the same noise, in double precision."""

    def run(where):
        model, gates, solver, optimizer = built(torch.device("cpu"), MLP)
        model.double().to(where)
        generator = torch.Generator().manual_seed(7)
        x, y = data(where)
        noise = type(gates.estimator).noise
        drawn = lambda self, like: torch.rand(len(like), generator=generator, dtype=torch.float64).logit().to(like)  # noqa: E731
        type(gates.estimator).noise = drawn
        try:
            values = []
            for _ in range(STEPS):
                optimizer.zero_grad()
                loss = loss_of(model, x.double(), y)
                loss.backward()
                solver.step()
                optimizer.step()
                values.append(loss.item())
        finally:
            type(gates.estimator).noise = noise
        return values, gates.log_alpha.detach().cpu().double(), list(solver.multipliers.values())

    here, there = run(torch.device("cpu")), run(device)
    worst = max(abs(a - b) / max(abs(a), 1e-9) for a, b in zip(here[0], there[0], strict=True))
    gates = float((here[1] - there[1]).abs().max())
    assert worst < 1e-3, f"losses differ by {worst:.1e}"
    assert gates < 1e-2, f"gates differ by {gates:.1e}"
    assert all(math.isclose(a, b, rel_tol=1e-2, abs_tol=1e-4) for a, b in zip(here[2], there[2], strict=True))
    return f"losses within {worst:.0e}, gates within {gates:.0e}"


def purged(device):
    """The purged model lies on the device, gives what the gated one gave, and is smaller."""
    model, _gates, solver, optimizer = built(
        device, finetune=0.2
    )  # settled, so that purge leaves the open units as they are
    train(model, solver, optimizer, device)
    result, note = check_target(model)
    x, _ = data(device)
    assert all(p.device.type == device.type for p in result.model.parameters())
    with torch.no_grad():
        difference = float((result.model.eval()(x) - model.eval()(x)).abs().max())
    assert difference < 1e-2, f"outputs differ by {difference:.1e}"  # TF32 in convolutions
    return f"{note}; outputs within {difference:.0e}"


def resumed(device):
    """A state dict that was saved on the device goes on there, and loads on the CPU."""
    model, _gates, solver, optimizer = built(device)
    train(model, solver, optimizer, device, STEPS // 2)
    state = copy.deepcopy(model.state_dict())
    twin, gates, solver, optimizer = built(device, seed=5)
    twin.load_state_dict(state)
    train(twin, solver, optimizer, device, STEPS // 2)
    assert solver.steps == STEPS and gates.log_alpha.device.type == device.type
    other = built(torch.device("cpu"))[0]
    other.load_state_dict({name: value.cpu() for name, value in state.items()})
    return check_target(twin)[1]


CHECKS = (
    attach_on_the_device,
    move_after_attaching,
    move_after_the_solver,
    half_precision_with_a_scaler,
    bfloat16_autocast,
    compiled,
    no_waiting,
    no_waiting_in_the_forward,
    deterministic,
    equal_to_the_cpu,
    purged,
    resumed,
    *gpu_streams.CHECKS,
    *gpu_cheaper.CHECKS,
)


def outcome(check, device):
    """Run one check."""
    started = time.perf_counter()
    try:
        with torch.random.fork_rng(devices=[]):
            note, found = check(device), "passed"
    except NotHereError as problem:
        note, found = str(problem), "skipped"
    except Exception as problem:  # whatever stops a check: the others run all the same
        note, found = f"{type(problem).__name__}: {problem}".splitlines()[0][:300], "failed"
    return Result(check.__name__.replace("_", " "), found, time.perf_counter() - started, note)


def write(results, path):
    """Write ``results`` as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["check", "outcome", "seconds", "note"])
        writer.writerows([r.check, r.outcome, f"{r.seconds:.1f}", r.note] for r in results)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="checks with one of these words in their names")
    parser.add_argument("--out", type=Path, default=Path("gpu-check"))
    parser.add_argument("--repeats", type=int, default=40, help="of the benchmark; 0 leaves it out")
    parser.add_argument("--compile", action="store_true", help="compiled networks in the benchmark too")
    options = parser.parse_args(arguments)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("gpu-check: torch sees no CUDA device here; nothing was checked (--device cpu runs what needs none)")
        return 2
    device = torch.device(options.device)
    started, results = time.perf_counter(), []
    options.out.mkdir(parents=True, exist_ok=True)
    print(f"{bench.machine(options.device)}", flush=True)
    chosen = [check for check in CHECKS if not options.only or any(word in check.__name__ for word in options.only)]
    for check in chosen:
        result = outcome(check, device)
        results.append(result)
        print(f"{result.outcome:8} {result.check:32} {result.seconds:6.1f} s  {result.note}", flush=True)
        write(results, options.out / "gpu-check.csv")
    if options.repeats:
        kinds = ["step", "solver", "operations", "bytes"] + (["compiled"] if options.compile else [])
        networks = list(NETWORKS) if device.type == "cuda" else ["MLP"]
        sizes = ["--repeats", str(options.repeats), "--device", options.device, "--out", str(options.out)]
        bench.main(["--only", *kinds, *networks, *sizes])
    failed = [result.check for result in results if result.outcome == "failed"]
    print(f"{len(results) - len(failed)} of {len(results)} checks did not fail, {time.perf_counter() - started:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
