"""A tenth of the parameters, trained by several processes: torchrun --nproc-per-node 2 examples/ddp_digits.py

Each process has its own part of the data, draws gates of its own, and ends with the same ones; any of them may purge.
"""

import os

import torch
from side_by_side import TRAIN, network, show
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

import lzero

DENSITY, EPOCHS = 0.10, 40
for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}.items():
    os.environ.setdefault(name, value)  # without torchrun: a group of one
distributed.init_process_group("gloo")
rank, processes = distributed.get_rank(), distributed.get_world_size()
sampler = DistributedSampler(TRAIN)
loader = DataLoader(TRAIN, batch_size=32 // processes, sampler=sampler)


def train(model, solver=None):
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


dense = train(network())
model = network()
gates = lzero.attach_gates(model, TRAIN[:2][0])  # before DistributedDataParallel
parallel = train(model, lzero.Solver(gates, target_density=DENSITY, total_steps=EPOCHS * len(loader)))
result = lzero.purge(parallel)

everyone = [None] * processes
distributed.all_gather_object(everyone, [parameter.tolist() for parameter in result.model.parameters()])
if rank == 0:
    show("ddp_digits", dense.module, result)
    print(f"{processes} processes, all with the same purged model: {all(one == everyone[0] for one in everyone)}")
distributed.destroy_process_group()
