"""Gates under DistributedDataParallel: every process gets the mean of the processes' gradients."""

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

import lzero
from lzero.gates import AR, ARM, Deterministic, HardConcrete

PROCESSES = 2


class Spy(torch.optim.Adam):
    """Adam that keeps the last gradient."""

    def step(self, closure=None):
        self.gradient = self.param_groups[0]["params"][0].grad.clone()
        super().step(closure)


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
    with torch.no_grad():
        gates.log_alpha.add_(rank)  # the first step gives all processes the gates of the first one
    spied = Spy([gates.log_alpha], lr=0.1)
    parallel, solver = DistributedDataParallel(model), lzero.Solver(gates, 0.5, total_steps=3, optimizer=spied)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
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

        gates.score(loss, closure if gates.estimator.losses else None)
        if step == 0:
            alone = gates.log_alpha.grad.clone()
        solver.step()
        if step == 0:  # lambda is still 0
            torch.save((alone, spied.gradient), f"{folder}/{rank}.pt")
        optimizer.step()
    end = [gates.log_alpha.detach(), *(parameter.detach() for parameter in model.parameters())]
    torch.save((end, solver.multipliers, dict(gates.ledger)), f"{folder}/{rank}-end.pt")


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [HardConcrete(), AR(), ARM(), Deterministic()], ids=repr)
def test_all_processes_get_the_mean_of_their_gradients_and_stay_alike(tmp_path, estimator):
    multiprocessing.spawn(process, (str(tmp_path), estimator), PROCESSES)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(PROCESSES))
    assert not torch.allclose(first[0], second[0])
    assert torch.equal(first[1], second[1])
    torch.testing.assert_close(first[1], (first[0] + second[0]) / 2)
    (one, lambda_one, left_one), (two, lambda_two, left_two) = (
        torch.load(tmp_path / f"{rank}-end.pt", weights_only=False) for rank in range(PROCESSES)
    )
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert lambda_one == lambda_two and all(torch.equal(left_one[key], left_two[key]) for key in left_one)
