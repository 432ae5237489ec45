"""Whole trainings over two processes: gates equal to the bit, the density that was asked, and a model to ship."""

import copy
from contextlib import nullcontext

import pytest
import torch
from pipeline.loop import BATCHES, TRAIN, accuracy, digits, mlp
from processes import PROCESSES, run
from torch import distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

import lzero

STEPS, TARGET = 10 * BATCHES, 0.1


def batches(rank, steps):
    """This process's own half of every batch."""
    x, y = digits()
    generator, taken = torch.Generator().manual_seed(0), 0
    while True:
        for batch in torch.randperm(TRAIN, generator=generator).split(64)[:-1]:
            if taken == steps:
                return
            taken += 1
            half = batch[rank::PROCESSES]
            yield x[half], y[half]


def loop(rank, wrapped, solver, gates, accumulate=1):
    """The README's loop; what is compared between the processes."""
    optimizer = torch.optim.Adam(wrapped.parameters(), 1e-3)
    torch.manual_seed(100 + rank)
    drawn = None
    for number, (x, y) in enumerate(batches(rank, STEPS * accumulate), 1):
        last = number % accumulate == 0
        with wrapped.no_sync() if not last else nullcontext():
            (F.cross_entropy(wrapped(x), y) / accumulate).backward()
        drawn = gates.drawing.last.z.clone() if drawn is None else drawn
        if last:
            solver.step()
            optimizer.step()
            optimizer.zero_grad()
    return {
        "log_alpha": gates.log_alpha.detach().clone(),
        "open": gates.open_mask(),
        "multipliers": solver.multipliers,
        "metrics": solver.metrics(),
        "first draw": drawn,
        "ledger": {name: tensor.clone() for name, tensor in gates.ledger.items()},
    }


class Branched(nn.Module):
    """A layer that no forward uses."""

    def __init__(self):
        super().__init__()
        self.body, self.unused = mlp(), nn.Linear(3, 3)

    def forward(self, x):
        return self.body(x)


def data_parallel(rank, accumulate=1, unused=False, **options):
    torch.manual_seed(rank)  # DistributedDataParallel and the solver give all processes what the first one has
    model = Branched() if unused else mlp()
    gates = lzero.attach_gates(model, torch.zeros(2, 64))
    with torch.no_grad():
        gates.log_alpha.add_(0.1 * rank)
    wrapped = DistributedDataParallel(model, **options)
    solver = lzero.Solver(gates, target_density=TARGET, total_steps=STEPS)
    found = loop(rank, wrapped, solver, gates, accumulate)
    result = lzero.purge(wrapped)
    return {**found, "certificate": result.certificate, "accuracy": accuracy(result.model), "kept": dict(result.kept)}


def check(found, target=TARGET):
    first, second = found
    assert not torch.equal(first["first draw"], second["first draw"])
    assert torch.equal(first["log_alpha"], second["log_alpha"]) and torch.equal(first["open"], second["open"])
    assert first["multipliers"] == second["multipliers"] and first["metrics"] == second["metrics"]
    assert first["ledger"].keys() == second["ledger"].keys()
    differing = {k for k, t in first["ledger"].items() if not torch.equal(t, second["ledger"][k])}
    assert not differing
    for one in found:
        assert abs(one["metrics"]["deployed"] - target) < 0.01
        certificate = one["certificate"]
        assert 0 <= target - certificate.deployed["params"] < 0.01 and not certificate.warnings
        assert one["accuracy"] > 0.9
    assert all(torch.equal(first["kept"][name], second["kept"][name]) for name in first["kept"])


WAYS = {
    "plain": {},
    "static graph": {"static_graph": True},
    "unused": {"find_unused_parameters": True, "unused": True},
    "bucket views": {"gradient_as_bucket_view": True},
    "no buffers": {"broadcast_buffers": False},
    "accumulated": {"accumulate": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_data_parallel_trainings_keep_one_set_of_gates(tmp_path, way):
    check(run(tmp_path, data_parallel, **WAYS[way]))


def sharded(rank, parts=True, reshard=True):
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    torch.manual_seed(0)  # fully_shard keeps what every process has
    model = mlp()
    plain = copy.deepcopy(model)
    gates = lzero.attach_gates(model, torch.zeros(2, 64))
    mesh = init_device_mesh("cpu", (PROCESSES,))
    for layer in [layer for layer in model if isinstance(layer, nn.Linear)] if parts else []:
        fully_shard(layer, mesh=mesh, reshard_after_forward=reshard)
    fully_shard(model, mesh=mesh, reshard_after_forward=reshard)
    solver = lzero.Solver(gates, target_density=TARGET, total_steps=STEPS)
    found = loop(rank, model, solver, gates)
    refused = ""
    try:
        lzero.purge(model)
    except lzero.StructureError as error:
        refused = str(error)
    state = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))
    everywhere = [None] * PROCESSES
    distributed.all_gather_object(everywhere, sorted(state))
    model.eval()
    x, _ = digits()
    with torch.no_grad():
        outputs = model(x[:5])
    if rank == 0:
        again = lzero.attach_gates(plain, torch.zeros(2, 64))
        plain.load_state_dict(state)
        with torch.no_grad():
            torch.testing.assert_close(plain.eval()(x[:5]), outputs)
        assert torch.equal(again.log_alpha, gates.log_alpha)
        result = lzero.purge(plain)
        found |= {"certificate": result.certificate, "accuracy": accuracy(result.model), "kept": dict(result.kept)}
    found["refused"] = refused
    return found


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"reshard": False}, {"parts": False}], ids=["parts", "root"])
def test_sharded_trainings_keep_one_set_of_gates_and_purge_from_the_gathered_state(tmp_path, options):
    first, second = run(tmp_path, sharded, **options)
    for one in (first, second):
        assert "sharded" in one["refused"] and "lzero.integrations.fsdp.purge(model, build_model)" in one["refused"]
    check([first, {**second, **{name: first[name] for name in ("certificate", "accuracy", "kept")}}])


def resumed(rank, way, place, steps=6):
    """A sharded training in one go, and one that is saved in the middle and goes on in fresh objects."""
    import torch.distributed.checkpoint as files
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        get_state_dict,
        set_model_state_dict,
        set_optimizer_state_dict,
    )
    from torch.distributed.fsdp import fully_shard

    def build():
        torch.manual_seed(0)
        model = mlp(20)
        gates = lzero.attach_gates(model, torch.zeros(2, 64))
        fully_shard(model, mesh=distributed.device_mesh.init_device_mesh("cpu", (PROCESSES,)))
        return model, gates, torch.optim.Adam(model.parameters(), 1e-3)

    def go(model, solver, optimizer, first, last):
        for number, (x, y) in enumerate(batches(rank, last)):
            if number >= first:
                torch.manual_seed(1000 * rank + number)
                F.cross_entropy(model(x), y).backward()
                solver.step()
                optimizer.step()
                optimizer.zero_grad()

    model, gates, optimizer = build()
    solver = lzero.Solver(gates, 0.5, total_steps=200)
    go(model, solver, optimizer, 0, steps)
    full = StateDictOptions(full_state_dict=way != "files", cpu_offload=way == "one")
    saved = copy.deepcopy(get_state_dict(model, optimizer, options=full))  # log_alpha goes on changing in place
    if way == "files":
        files.save({"model": saved[0], "optimizer": saved[1]}, checkpoint_id=place)
    go(model, solver, optimizer, steps, 2 * steps)
    whole = gates.log_alpha.detach().clone(), dict(gates.ledger)

    model, gates, optimizer = build()
    early = None if way == "late" else lzero.Solver(gates, 0.5, total_steps=200)
    options = full
    if way == "files":
        found = dict(zip(("model", "optimizer"), get_state_dict(model, optimizer, options=full), strict=True))
        files.load(found, checkpoint_id=place)
        saved = found["model"], found["optimizer"]
    elif way in ("one", "late"):
        options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
        saved = saved if rank == 0 else ({}, {})
    set_model_state_dict(model, saved[0], options=options)
    set_optimizer_state_dict(model, optimizer, saved[1], options=options)
    solver = early or lzero.Solver(gates, 0.5, total_steps=200)
    go(model, solver, optimizer, steps, 2 * steps)
    assert solver.steps == 2 * steps, solver.steps
    assert torch.equal(whole[0], gates.log_alpha), (whole[0] - gates.log_alpha).abs().max()
    assert all(torch.equal(tensor, gates.ledger[name]) for name, tensor in whole[1].items())
    return True


@pytest.mark.slow
@pytest.mark.parametrize("way", ["files", "all", "one", "late"])
def test_a_sharded_training_resumes_to_the_bit_from_pytorchs_own_checkpoints(tmp_path, way):
    assert run(tmp_path, resumed, way=way, place=str(tmp_path / "checkpoint")) == [True, True]


def attach_late(rank):
    said = []
    for wrap in (DistributedDataParallel, torch.compile, torch.optim.swa_utils.AveragedModel):
        try:
            lzero.attach_gates(wrap(mlp()), torch.zeros(2, 64))
        except lzero.StructureError as error:
            said.append(str(error))
    return said


@pytest.mark.slow
def test_gates_are_attached_before_a_model_is_wrapped(tmp_path):
    for said in run(tmp_path, attach_late):
        assert len(said) == 3
        for text, name in zip(said, ("DistributedDataParallel", "OptimizedModule", "AveragedModel"), strict=True):
            assert text.startswith(f"{name}: is wrapped already") and "attach gates to the plain model first" in text
