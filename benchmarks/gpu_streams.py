"""Checks on a device of gates on what all blocks read: the width of a stream, and whole blocks."""

from contextlib import nullcontext

import torch
from gpu_training import STEPS, check_target, needs_cuda, without_waiting
from networks import BYTES, CONTEXT, GPT, loss_of

import lzero

STREAMS = ("width", "depth", "width+depth")  # granularities


def stream(device, granularity, attach_on=None, **options):
    """A small GPT with gates on its residual stream, solver, optimizer and a batch."""
    torch.manual_seed(0)
    first = torch.device(attach_on or device)
    model = GPT(width=32, heads=2, depth=3).to(first)
    tokens = torch.randint(0, BYTES, (8, CONTEXT))
    gates = lzero.attach_gates(model, tokens[:2].to(first), granularity=granularity)
    model.to(device)
    solver = lzero.Solver(gates, 0.5, total_steps=STEPS, **options)
    x = tokens.to(device)
    return model, gates, solver, torch.optim.Adam(model.parameters(), lr=1e-3), (x, x.roll(-1, 1))


def streams_in_every_precision(device):
    """Width and depth in float32, in bfloat16 and, with a GradScaler, in float16; attached here and on the CPU."""
    notes = []
    for granularity in STREAMS:
        for dtype in (None, torch.bfloat16, *((torch.float16,) if device.type == "cuda" else ())):
            model, gates, solver, optimizer, (x, y) = stream(device, granularity, None if dtype else "cpu")
            scaler = torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)
            for _ in range(STEPS):
                optimizer.zero_grad()
                with torch.autocast(device.type, dtype, enabled=dtype is not None):
                    loss = loss_of(model, x, y)
                scaler.scale(loss).backward()
                solver.step(scaler=scaler if scaler.is_enabled() else None)
                scaler.step(optimizer)
                scaler.update()
            assert gates.log_alpha.device.type == device.type and bool(gates.log_alpha.isfinite().all())
            assert solver.skipped < STEPS // 2, f"{solver.skipped} steps were skipped"
            notes.append(f"{granularity}, {dtype or torch.float32}: {check_target(model)[1]}".replace("torch.", ""))
    return "; ".join(notes)


def streams_without_waiting(device):
    """Neither the forward and backward of a gated stream nor the solver's step waits for the device."""
    needs_cuda(device)
    for granularity in STREAMS:
        model, _gates, solver, optimizer, (x, y) = stream(device, granularity)
        for step in range(2 * STEPS // 3):
            optimizer.zero_grad()
            with without_waiting(granularity) if step > 5 else nullcontext():
                loss_of(model, x, y).backward()
                solver.step()
            optimizer.step()
    return ", ".join(STREAMS)


def streams_compiled(device):
    """torch.compile of a gated stream: the losses of the eager one with the same draws, and the target."""
    backend, notes = "inductor" if device.type == "cuda" else "aot_eager", []
    for granularity in STREAMS:
        torch._dynamo.reset()
        model, gates, solver, optimizer, (x, y) = stream(device, granularity)
        forward = torch.compile(model, backend=backend)
        noise = type(gates.estimator).noise
        try:
            type(gates.estimator).noise = lambda self, like: torch.linspace(-2, 2, len(like), device=like.device)
            eager, compiled = (loss_of(one, x, y) for one in (model, forward))
        finally:
            type(gates.estimator).noise = noise
        torch.testing.assert_close(compiled, eager, rtol=1e-3, atol=1e-4)
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss_of(forward, x, y).backward()
            solver.step()
            optimizer.step()
        notes.append(f"{granularity}, {backend}: {check_target(model)[1]}")
    return "; ".join(notes)


def streams_purged(device):
    """What a settled stream gives on the device is what its purged model gives, in single precision without TF32."""
    notes = []
    for granularity in STREAMS:
        model, _gates, solver, optimizer, (x, y) = stream(device, granularity, finetune=0.2)
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss_of(model, x, y).backward()
            solver.step()
            optimizer.step()
        result, note = check_target(model)
        assert all(p.device.type == device.type for p in result.model.parameters())
        with torch.no_grad():
            difference = float((result.model.eval()(x) - model.eval()(x)).abs().max())
        assert difference < 1e-4, f"{granularity}: outputs differ by {difference:.1e}"
        notes.append(f"{granularity}: {note}; outputs within {difference:.0e}")
    return "; ".join(notes)


CHECKS = (streams_in_every_precision, streams_without_waiting, streams_compiled, streams_purged)
