"""Schedulers of dask.distributed on this machine, with their workers."""

import pytest


def scheduler(workers, **options):
    """One with so many workers, threads of this process unless ``options`` say otherwise."""
    distributed = pytest.importorskip("distributed")
    settings = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "protocol": "tcp", "processes": False}
    return distributed.LocalCluster(n_workers=workers, **{**settings, **options})
