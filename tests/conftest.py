"""One thread a test: the networks are tiny, and threads that wait for each other take most of the time.

Properties are tried on the same examples in every run, so that none fails by chance where nothing has changed; `make
test-all` tries others each time.
"""

import os
import signal

import pytest
import torch
from exactness import assert_exact as assert_exact
from hypothesis import settings
from torch import distributed

torch.set_num_threads(1)
settings.register_profile("the same examples", derandomize=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "the same examples"))


@pytest.fixture(autouse=True)
def denormals():
    """The command line flushes denormals in its own process; in this one every test starts with them."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture
def interruptible():
    """Ctrl-C is heard, here and by processes that begin here; what a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.fixture
def group(tmp_path):
    """One gloo process, as torchrun would make several."""
    distributed.init_process_group("gloo", store=distributed.FileStore(str(tmp_path / "meet"), 1), rank=0, world_size=1)
    try:
        yield
    finally:
        distributed.destroy_process_group()
