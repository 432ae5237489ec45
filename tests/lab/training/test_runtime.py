"""The process of a training: denormals, threads, and a random stream of its own."""

import pytest
import torch

from lzero_lab.training.runtime import RandomStream, configure_cpu

CPU = torch.device("cpu")


def test_denormals_are_flushed_and_threads_set_where_asked():
    small = torch.tensor([2.0**-130])
    assert (small * 0.5).item() != 0
    before = torch.get_num_threads()
    try:
        configure_cpu()
        assert (small * 0.5).item() == 0 and torch.get_num_threads() == before
        configure_cpu(threads=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def drawn(stream, count):
    with stream.active():
        return torch.rand(count)


def test_a_stream_goes_on_where_it_stopped_and_leaves_the_global_one():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    stream, other = RandomStream(0, CPU), RandomStream(1, CPU)
    parts = [drawn(stream, 2), drawn(other, 5), drawn(stream, 3)]
    assert torch.rand(3).equal(expected)
    torch.manual_seed(0)
    assert torch.cat([parts[0], parts[2]]).equal(torch.cat([torch.rand(2), torch.rand(3)]))


def test_a_state_brings_it_back():
    stream = RandomStream(3, CPU)
    drawn(stream, 4)
    state = stream.state()
    ahead = drawn(stream, 4)
    again = RandomStream(5, CPU)
    again.set_state(state)
    assert drawn(again, 4).equal(ahead)


def test_draws_that_failed_are_as_if_never_drawn():
    stream, twin = RandomStream(3, CPU), RandomStream(3, CPU)
    with pytest.raises(RuntimeError, match="midway"), stream.active():
        torch.rand(2)
        raise RuntimeError("midway")
    assert drawn(stream, 2).equal(drawn(twin, 2))
