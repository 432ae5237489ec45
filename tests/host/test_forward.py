"""Every global generator of random numbers is left as it was, and forwards that draw from one agree."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from nets import Net, sizes
from torch import Tensor, nn

import lzero
from lzero.host.quiet import isolated_random_state
from lzero.host.run import run


def noisy() -> Net:
    """A net whose forward draws from all three streams."""

    def forward(net: Any, x: Tensor) -> Tensor:
        scale = 1.0 + random.random() + float(np.random.rand()) + float(torch.rand(()))
        return net.b((net.a(x) * scale).relu())

    return Net(forward, a=nn.Linear(5, 8), b=nn.Linear(8, 2))


def streams() -> tuple[Any, ...]:
    kind, keys, *rest = np.random.get_state()
    return random.getstate(), (kind, keys.tolist(), *rest), torch.get_rng_state().tolist()  # type: ignore[union-attr]


X = torch.randn(4, 5)


def test_discovery_gating_and_purging_move_no_stream() -> None:
    random.seed(3), np.random.seed(4), torch.manual_seed(5)
    net = noisy()
    before = streams()
    assert sizes(lzero.discover(net, X)) == {"a": 8}
    assert streams() == before
    lzero.attach_gates(net, X)
    assert streams() == before
    lzero.purge(net)
    assert streams() == before


def test_two_runs_agree_wherever_the_streams_are() -> None:
    net = noisy()
    one = run(net, X)
    random.random(), np.random.rand(), torch.rand(())
    assert torch.equal(run(net, X)[0], one[0])


def test_streams_are_restored_after_an_error_too() -> None:
    model = nn.Linear(2, 2)
    before = streams()
    with pytest.raises(ZeroDivisionError), isolated_random_state(model):
        random.random(), np.random.rand(), torch.rand(())
        raise ZeroDivisionError
    assert streams() == before


def test_a_bit_generator_of_the_users_is_kept() -> None:
    kept = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.PCG64(1))
    try:
        expected = np.random.PCG64(1).random_raw()
        with isolated_random_state(nn.Linear(2, 2)):
            np.random.rand()
        assert np.random.get_bit_generator().random_raw() == expected
    finally:
        np.random.set_bit_generator(kept)
