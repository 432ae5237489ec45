"""Scored gates under DistributedDataParallel: every process gets the mean of the processes' gradients."""

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

import lzero
from lzero.gates import AR, ARM
from lzero.gates.gates import Gates

PROCESSES = 2


def process(rank, folder, estimator):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=PROCESSES)
    train(rank, folder, estimator)  # its DistributedDataParallel must end before the group does
    distributed.barrier()
    distributed.destroy_process_group()


def train(rank, folder, estimator):
    """Three steps on data and draws of this process's own; what each score was worth alone, and what came of it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    gates = lzero.attach_gates(model, torch.randn(2, 6), estimator=estimator, open_probability=0.6)
    parallel, solver = DistributedDataParallel(model), lzero.Solver(gates, 0.5, total_steps=3)
    optimizer = torch.optim.Adam(lzero.parameter_groups(model, lr=1e-2, gate_lr=0.1))
    torch.manual_seed(1 + rank)
    x, y = torch.randn(16, 6), torch.randint(3, (16,))
    for step in range(3):
        optimizer.zero_grad()
        loss = F.cross_entropy(parallel(x), y)
        loss.backward()
        other = []

        def closure(other=other):
            other.append(F.cross_entropy(parallel(x), y))
            return other[0]

        gates.score(loss, closure)
        if step == 0:
            values = [value.item() for value in (loss, *other)]
            alone = gates.estimator.score(gates.log_alpha.detach(), gates._noise, *values, *[None][len(other) :])
            torch.save((alone, gates.log_alpha.grad), f"{folder}/{rank}.pt")
        solver.step()
        optimizer.step()
    torch.save([parameter.detach() for parameter in model.parameters()], f"{folder}/{rank}-end.pt")


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [AR(), ARM()], ids=["AR", "ARM"])
def test_all_processes_get_the_mean_of_their_scores_and_stay_alike(tmp_path, estimator):
    multiprocessing.spawn(process, (str(tmp_path), estimator), PROCESSES)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(PROCESSES))
    assert not torch.allclose(first[0], second[0])
    assert torch.equal(first[1], second[1])
    torch.testing.assert_close(first[1], (first[0] + second[0]) / 2)
    ends = [torch.load(tmp_path / f"{rank}-end.pt") for rank in range(PROCESSES)]
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_the_sum_over_the_processes_is_divided_by_their_number(monkeypatch):
    gates = Gates({"a": 3}, estimator=AR())
    gates.draw()
    gates.score(2.0)
    alone, gates.log_alpha.grad = gates.log_alpha.grad, None
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(distributed, "all_reduce", lambda tensor: tensor.add_(3 * alone))
    gates.score(2.0)
    assert alone.any() and torch.equal(gates.log_alpha.grad, 2 * alone)
