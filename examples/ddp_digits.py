"""A tenth of the parameters, trained by several processes: torchrun --nproc-per-node 2 examples/ddp_digits.py

Each process has its own part of the data, draws gates of its own, and ends with the same ones; any of them may purge.
"""

import os

import torch
from sklearn.datasets import load_digits
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import lzero

EPOCHS = 40
for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}.items():
    os.environ.setdefault(name, value)  # without torchrun: a group of one
distributed.init_process_group("gloo")
rank, processes = distributed.get_rank(), distributed.get_world_size()

x, y = (torch.tensor(part) for part in load_digits(return_X_y=True))
order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
x, y = x[order].float() / 16, y[order]
train = TensorDataset(x[:1400], y[:1400])
sampler = DistributedSampler(train)
loader = DataLoader(train, batch_size=32 // processes, sampler=sampler)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))


def fit(model, solver=None):
    """The loop, with a solver and without."""
    parallel = DistributedDataParallel(model)
    optimizer = torch.optim.Adam(parallel.parameters(), lr=1e-3)
    torch.manual_seed(rank)
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        for inputs, targets in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(parallel(inputs), targets).backward()
            if solver is not None:
                solver.step()
            optimizer.step()
    return parallel


dense = fit(network())
model = network()
gates = lzero.attach_gates(model, x[:2])  # before DistributedDataParallel
parallel = fit(model, lzero.Solver(gates, target_density=0.10, total_steps=EPOCHS * len(loader)))
result = lzero.purge(parallel)

everyone = [None] * processes
distributed.all_gather_object(everyone, [parameter.tolist() for parameter in result.model.parameters()])
if rank == 0:
    print(result.certificate)
    print(f"{processes} processes, all with the same purged model: {all(one == everyone[0] for one in everyone)}")
    for name, trained in {"dense": dense.module, "purged": result.model}.items():
        error = (trained(x[1400:]).argmax(1) != y[1400:]).float().mean()
        print(f"{name}: test error {error:.2%}, {sum(p.numel() for p in trained.parameters()):,} parameters")
distributed.destroy_process_group()
