"""A short training on a device, and what the checks of gpu_check.py ask of it."""

from contextlib import contextmanager

import torch
from networks import loss_of

import lzero
from lzero_lab.models import LeNet5

STEPS = 30


class NotHereError(Exception):
    """A check that needs what this machine lacks."""


def needs_cuda(device):
    if device.type != "cuda":
        raise NotHereError("needs a CUDA device")


def data(device, batch=32):
    """The same images and classes on every device."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, 1, 28, 28, generator=generator)
    return x.to(device), torch.randint(0, 10, (batch,), generator=generator).to(device)


def built(device, build=LeNet5, granularity="unit", target=0.5, steps=STEPS, attach_on=None, seed=0, **options):
    """Model, gates, solver and optimizer; attached on ``attach_on`` and moved to ``device`` afterwards."""
    torch.manual_seed(seed)
    first = torch.device(attach_on or device)
    model = build().to(first)
    gates = lzero.attach_gates(model, data(first)[0][:2], granularity=granularity)
    model.to(device)
    solver = lzero.Solver(gates, target, total_steps=steps, **options)
    return model, gates, solver, torch.optim.Adam(model.parameters(), lr=1e-3)


def train(model, solver, optimizer, device, steps=STEPS, forward=None):
    """Losses of a training."""
    x, y = data(device)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of(model if forward is None else forward, x, y)
        loss.backward()
        solver.step()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses).tolist()


def check_target(model, target=0.5):
    result = lzero.purge(model)
    deployed = result.certificate.deployed["params"]
    assert 0 <= target - deployed < 0.05, f"asked {target}, shipped {deployed}"
    return result, f"shipped {deployed:.3f} of {target} asked"


@contextmanager
def without_waiting(what):
    """A context in which waiting for the device is an error that begins with ``what``."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    except RuntimeError as problem:
        raise AssertionError(f"{what}: {problem}") from problem
    finally:
        torch.cuda.set_sync_debug_mode("default")
