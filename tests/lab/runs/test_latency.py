"""Latencies are positive, of every network, and leave the networks in eval mode."""

import torch
from torch import nn

from lzero_lab.runs.latency import latencies


class Counted(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls, self.modes = 0, set()

    def forward(self, x):
        self.calls += 1
        self.modes.add((self.training, torch.is_grad_enabled()))
        return x + 1


def test_each_network_has_a_positive_median_in_eval_mode():
    networks = [Counted(), Counted()]
    times = latencies(networks, torch.zeros(3), repetitions=5)
    assert len(times) == 2 and min(times) > 0
    assert all(network.modes == {(False, False)} and network.calls >= 4 + 5 for network in networks)
