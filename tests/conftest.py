"""One thread a test: the networks are tiny, and threads that wait for each other take most of the time."""

import pytest
import torch
from exactness import assert_exact as assert_exact

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def denormals():
    """The command line flushes denormals in its own process; in this one every test starts with them."""
    yield
    torch.set_flush_denormal(False)
