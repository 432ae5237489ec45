"""A budget in loops of Fabric: what a plain loop gives, to the bit, in any precision and number of processes."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lzero
from lzero.errors import BudgetError, StructureError
from lzero.integrations.fabric import budget

TESTS = Path(__file__).parent.parent
PLAIN = SimpleNamespace(strategy=SimpleNamespace(precision=SimpleNamespace()))  # all that is asked of a Fabric


def network():
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 2))


def test_what_is_no_fabric_or_was_set_up_already_is_refused_and_left_alone():
    model, x = network(), torch.rand(2, 16)
    options = {"example_inputs": x, "total_steps": 400}
    with pytest.raises(StructureError, match=r"fabric: expected a lightning\.Fabric, found None"):
        budget(None, model, 0.3, **options)
    with pytest.raises(BudgetError, match="cannot be met"):
        budget(PLAIN, model, 0.0001, **options)
    wrapped = nn.Module()
    wrapped._forward_module = model
    with pytest.raises(StructureError, match=r"was set up already; call budget\(fabric, model, \.\.\.\) first"):
        budget(PLAIN, wrapped, 0.3, **options)
    assert lzero.gates_of(model) is None


def test_the_scale_of_the_precision_is_taken_out():
    found = []
    for scale in (None, 2.0**12):
        torch.manual_seed(0)
        model, x = network(), torch.rand(8, 16)
        scaler = None if scale is None else SimpleNamespace(get_scale=lambda scale=scale: scale)
        fabric = SimpleNamespace(strategy=SimpleNamespace(precision=SimpleNamespace(scaler=scaler)))
        solver = budget(fabric, model, 0.3, example_inputs=x, total_steps=400)
        for _ in range(3):
            (model(x).square().mean() * (scale or 1)).backward()
            assert solver.step()
        found.append(solver.gates.log_alpha.detach().clone())
        assert solver.steps == 3 and solver.metrics()["target"] == pytest.approx(0.3) and solver.model is model
    assert torch.equal(*found)


@pytest.fixture
def nets():
    pytest.importorskip("lightning")
    from integrations.lightning import nets

    return nets


def train(nets, fabric, *, accumulate=1, clip=False, until=200, state=None, total=200):
    model = nets.network()
    solver = budget(fabric, model, nets.TARGET, example_inputs=nets.data()[0][:2], total_steps=total)
    model, optimizer = fabric.setup(model, torch.optim.Adam(model.parameters(), 1e-2))
    start = fabric.load(state, {"model": model, "optimizer": optimizer})["number"] if state else 0
    x, y = nets.data()
    batches = list(zip(x.split(nets.BATCH), y.split(nets.BATCH), strict=True))
    for number in range(start, until):
        torch.manual_seed(nets.SEED + number)
        inputs, labels = batches[number % len(batches)]
        stepping = (number % len(batches) + 1) % accumulate == 0 or number % len(batches) + 1 == len(batches)
        with fabric.no_backward_sync(model, enabled=not stepping):
            fabric.backward(F.cross_entropy(model(inputs), labels) / accumulate)
        if stepping:
            solver.step()
            if clip:
                fabric.clip_gradients(model, optimizer, max_norm=0.5, error_if_nonfinite=False)
            optimizer.step()
            optimizer.zero_grad()
    return solver, model, optimizer


def same(one, two):
    one, two = one.state_dict(), two.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed", "bf16-true", "accumulation"])
def test_a_loop_of_fabric_gives_what_a_plain_one_gives(nets, precision):
    import lightning
    from lightning.fabric.plugins import MixedPrecision

    def scaler():
        return torch.amp.GradScaler("cpu", init_scale=2.0**24, growth_interval=30)

    accumulate = 4 if precision == "accumulation" else 1
    options = {"precision": "32-true" if accumulate > 1 else precision}
    hand = {"accumulate": accumulate}
    if precision == "16-mixed":  # on a CPU Fabric takes bfloat16 instead, so that its plugin is given one
        options = {"plugins": [MixedPrecision("16-mixed", "cpu", scaler())]}
        clip = lambda parameters: nn.utils.clip_grad_norm_(parameters, 0.5)  # noqa: E731
        hand |= {
            "autocast": torch.autocast("cpu", torch.float16),
            "scaler": scaler(),
            "clip": clip,
            "cast": torch.float16,
        }
    if precision == "bf16-mixed":
        hand |= {"autocast": torch.autocast("cpu", torch.bfloat16), "cast": torch.bfloat16}
    if precision == "bf16-true":
        hand |= {"dtype": torch.bfloat16, "cast": torch.bfloat16}
    fabric = lightning.Fabric(accelerator="cpu", devices=1, **options)
    fabric.launch()
    steps = 20 * -(-10 // accumulate)
    solver, model, _ = train(nets, fabric, accumulate=accumulate, clip=precision == "16-mixed", total=steps)
    _, by_itself = nets.by_hand(**hand)
    assert solver.steps == steps and same(model, by_itself)
    if precision == "16-mixed":
        assert solver.solver.skipped > 0
    if accumulate == 1:
        certificate = solver.purge().certificate
        assert 0 <= nets.TARGET - certificate.deployed["params"] < 0.04 and not certificate.warnings


@pytest.mark.slow
@pytest.mark.parametrize("at", [90, 175])
def test_what_fabric_saves_resumes_to_the_bit(nets, tmp_path, at):
    import lightning

    fabric = lightning.Fabric(accelerator="cpu", devices=1)
    _, whole, _ = train(nets, fabric)
    _, model, optimizer = train(nets, fabric, until=at)
    fabric.save(tmp_path / "state.ckpt", {"model": model, "optimizer": optimizer, "number": at})
    solver, model, _ = train(nets, fabric, state=tmp_path / "state.ckpt")
    assert solver.steps == 200 and same(model, whole)


TWO = """
import sys
import torch, lightning
from torch.nn import functional as F
from integrations.lightning.nets import TARGET, data, network
import lzero

folder = sys.argv[1]


def run(fabric, until, state=None, save=None):
    model = network()
    x, y = data()
    solver = lzero.integrations.fabric.budget(fabric, model, TARGET, example_inputs=x[:2], total_steps=200)
    model, optimizer = fabric.setup(model, torch.optim.Adam(model.parameters(), 1e-2))
    start = fabric.load(state, {"model": model, "optimizer": optimizer})["number"] if state else 0
    for number in range(start, until):
        torch.manual_seed(number + 1000 * fabric.global_rank)
        mine = torch.randperm(len(x))[:32]
        optimizer.zero_grad()
        fabric.backward(F.cross_entropy(model(x[mine]), y[mine]))
        solver.step()
        optimizer.step()
    if save:
        fabric.save(save, {"model": model, "optimizer": optimizer, "number": until})
    return solver, model


if __name__ == "__main__":
    fabric = lightning.Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    solver, whole = run(fabric, 200)
    run(fabric, 110, save=f"{folder}/state.ckpt")
    _, resumed = run(fabric, 200, state=f"{folder}/state.ckpt")
    found = {"whole": whole.state_dict(), "resumed": resumed.state_dict(), "certificate": solver.purge().certificate}
    torch.save(found, f"{folder}/{fabric.global_rank}.pt")
    torch.distributed.destroy_process_group()  # threads that outlive it abort the process now and then
"""


@pytest.mark.slow
def test_two_processes_agree_and_resume_to_the_bit(nets, tmp_path):
    script = tmp_path / "two.py"
    script.write_text(TWO)
    paths = os.pathsep.join([str(TESTS), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    subprocess.run(
        [sys.executable, str(script), str(tmp_path)], env={**os.environ, "PYTHONPATH": paths}, check=True, timeout=600
    )
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in (0, 1))
    for name, tensor in one["whole"].items():
        assert torch.equal(tensor, two["whole"][name]), name
        assert torch.equal(tensor, one["resumed"][name]) and torch.equal(tensor, two["resumed"][name]), name
    certificate = one["certificate"]
    assert 0 <= nets.TARGET - certificate.deployed["params"] < 0.04 and not certificate.warnings
