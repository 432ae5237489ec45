"""Processes that meet over gloo, two where nothing else is said, for the tests of what is distributed."""

from datetime import timedelta
from time import monotonic

import torch
from torch import distributed, multiprocessing

PROCESSES = 2
LIMIT = 600  # seconds, on a machine that is busy with others


def process(rank, folder, work, options, count):
    torch.set_num_threads(1)
    store = distributed.FileStore(f"{folder}/meet", count)
    limit = timedelta(seconds=LIMIT)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=limit)
    torch.save(work(rank, **options), f"{folder}/{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


def run(folder, work, *, count=PROCESSES, **options):
    """What ``work(rank, **options)`` returned in each of the processes."""
    started = multiprocessing.spawn(process, (str(folder), work, options, count), count, join=False)
    deadline = monotonic() + LIMIT
    while not started.join(timeout=1):
        if monotonic() > deadline:
            for running in started.processes:
                running.kill()
            raise TimeoutError(f"the processes are still at work after {LIMIT} seconds")
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(count)]
