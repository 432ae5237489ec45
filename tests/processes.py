"""Two processes that meet over gloo, for the tests of what is distributed."""

import torch
from torch import distributed, multiprocessing

PROCESSES = 2


def process(rank, folder, work, options):
    torch.set_num_threads(1)
    store = distributed.FileStore(f"{folder}/meet", PROCESSES)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=PROCESSES)
    torch.save(work(rank, **options), f"{folder}/{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


def run(folder, work, **options):
    """What ``work(rank, **options)`` returned in each of the processes."""
    multiprocessing.spawn(process, (str(folder), work, options), PROCESSES)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(PROCESSES)]
