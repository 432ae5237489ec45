"""Checks on a device of trainings that get cheaper, of budgets of latency, and of fronts."""

import copy
import itertools

import torch
from gpu_training import STEPS, built, check_target, data, needs_cuda, train, without_waiting
from networks import loss_of

import lzero
from lzero_lab.models import MLP, ResNet


def compacted(device):
    """Units leave in the middle: the outputs stay, the training goes on, the budget counts from the original."""
    model, gates, solver, optimizer = built(device)
    train(model, solver, optimizer, device, STEPS // 2)
    with torch.no_grad():
        gates.log_alpha[::8] = -9.0
    x, _ = data(device)
    before, parameters = model.eval()(x), sum(p.numel() for p in model.parameters())
    gone = lzero.compact(model, optimizer)
    difference = float((model(x) - before).abs().max())
    assert difference < 1e-2, f"outputs differ by {difference:.1e}"  # TF32 in convolutions
    assert all(t.device.type == device.type for s in optimizer.state.values() for t in s.values() if t.dim())
    train(model.train(), solver, optimizer, device, STEPS - STEPS // 2)
    left = sum(p.numel() for p in model.parameters()) / parameters
    return f"{gone} gates left, {left:.0%} of the parameters stayed; {check_target(model)[1]}"


def compacted_by_the_solver(device):
    """A whole training in bfloat16 with Compaction, and no wait for the device in steps that look at nothing."""
    length, notes = 300, []
    model, gates, _, optimizer = built(device, target=0.9)
    compaction = lzero.Compaction(model, optimizer)
    solver = lzero.Solver(gates, 0.1, total_steps=length, compaction=compaction, fresh=True)
    x, y = data(device)
    for step in range(length):
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16):
            loss = loss_of(model, x, y)
        loss.backward()
        quiet = device.type == "cuda" and 10 < step < 40 and (step + 1) % (length // 50)
        if quiet:
            with without_waiting("a step that looks at nothing"):
                solver.step()
        else:
            solver.step()
        optimizer.step()
    assert compaction.removed, "no unit has left"
    notes.append(f"left after steps {compaction.removed}")
    return "; ".join([*notes, check_target(model, 0.1)[1]])


def compacted_and_compiled(device):
    """What torch.compile compiled is compiled again, and gives what the eager model gives."""
    backend = "inductor" if device.type == "cuda" else "aot_eager"
    torch.compiler.reset()
    model, gates, solver, optimizer = built(device, MLP)
    forward = torch.compile(model, backend=backend)
    train(model, solver, optimizer, device, 10, forward=forward)
    with torch.no_grad():
        gates.log_alpha[::2] = -9.0
    gone = lzero.compact(forward, optimizer)
    x, _ = data(device)
    model.eval()
    torch.testing.assert_close(forward(x), model(x), rtol=1e-2, atol=1e-3)
    model.train()
    train(model, solver, optimizer, device, STEPS - 10, forward=forward)
    return f"{backend}; {gone} gates left; {check_target(model)[1]}"


def wide(device, batch):
    """A residual network that is wide enough for its widths to cost time on a GPU, and images."""
    torch.manual_seed(0)
    widths = (256, 512) if device.type == "cuda" else (8, 16)
    x = torch.randn(batch if device.type == "cuda" else 4, 3, 32, 32, device=device)
    return ResNet(3, widths, blocks=2).to(device), x


def latency_budget(device):
    """A table measured on the device, a training under half of it, and the purged model timed again."""
    model, x = wide(device, 256)
    table = lzero.latency.measure(model, x)
    assert device.type != "cuda" or torch.cuda.get_device_name() in table.device, table.device
    gates = lzero.attach_gates(model, x[:2])
    target = 0.5 if device.type == "cuda" else 0.9
    budget = lzero.Constraint(target, "latency", table=table)
    solver = lzero.Solver(gates, constraints=[budget], total_steps=STEPS * 2)
    optimizer, y = torch.optim.Adam(model.parameters(), lr=1e-3), torch.arange(len(x), device=device) % 10
    for step in range(STEPS * 2):
        optimizer.zero_grad()
        loss_of(model, x, y).backward()
        if device.type == "cuda" and 10 < step < 20:
            with without_waiting("a budget of latency"):
                solver.step()
        else:
            solver.step()
        optimizer.step()
    latency = lzero.purge(model).certificate.latency
    predicted, measured = (
        latency.predicted / latency.predicted_before,
        latency.measured / latency.measured_before,
    )
    assert predicted <= target, f"asked {target}, by the table {predicted:.3f}"
    if device.type == "cuda":
        assert abs(measured / target - 1) < 0.2, f"asked {target}, measured {measured:.3f}"
    return f"asked {target}, by the table {predicted:.3f}, measured {measured:.3f} of {latency.measured_before:.2f} ms"


def front_and_descent(device):
    """Several budgets of a model on the device, and a training that comes by two."""
    model, gates, solver, optimizer = built(device)
    train(model, solver, optimizer, device)
    x, y = data(device)
    found = lzero.front(model, [0.5, 0.3, 0.1], lambda small: float(loss_of(small, x, y)))
    shares = [row["params"] for row in found.rows if row["cut"]]
    assert shares == sorted(shares, reverse=True), shares
    model, gates, _, optimizer = built(device, target=0.9)
    descent = lzero.Descent(gates, [0.5, 0.2], total_steps=2 * STEPS, fresh=True)
    shipped = []
    for _ in range(2 * STEPS):
        optimizer.zero_grad()
        loss_of(model, x, y).backward()
        descent.step()
        optimizer.step()
        if descent.due:
            shipped.append(lzero.purge(model).certificate.deployed["params"])
    assert [one <= asked for one, asked in zip(shipped, (0.5, 0.2), strict=True)] == [True, True], shipped
    return f"front {', '.join(f'{share:.2f}' for share in shares)}; descent {shipped[0]:.3f}, {shipped[1]:.3f}"


def smaller_is_faster(device):
    """Whole and purged networks in inference, and what the ratio of their MACs says."""
    needs_cuda(device)
    model, x = wide(device, 256)
    whole = copy.deepcopy(model).eval()
    notes = []
    for share, step in itertools.product((0.5, 0.25), (1, 16)):
        gated = copy.deepcopy(whole)
        gates = lzero.attach_gates(gated, x[:2], round_to=step)
        with torch.no_grad():
            gates.log_alpha.normal_(generator=torch.Generator(device).manual_seed(0))
        result = lzero.purge(gated, constraints=[lzero.Constraint(share, "macs")])
        seconds = [timed(one, x) for one in (whole, result.model.eval(), whole, result.model)]
        ratio = (seconds[1] + seconds[3]) / (seconds[0] + seconds[2])
        notes.append(f"{share:.0%} of the MACs in steps of {step}: {ratio:.2f} of {1e3 * seconds[0]:.1f} ms")
    return "; ".join(notes)


@torch.inference_mode()
def timed(model, x, repeats=20):
    """Seconds of a forward, by events of the device."""
    for _ in range(5):
        model(x)
    begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begun.record()
    for _ in range(repeats):
        model(x)
    ended.record()
    torch.cuda.synchronize()
    return begun.elapsed_time(ended) / 1e3 / repeats


CHECKS = (
    compacted,
    compacted_by_the_solver,
    compacted_and_compiled,
    latency_budget,
    front_and_descent,
    smaller_is_faster,
)
