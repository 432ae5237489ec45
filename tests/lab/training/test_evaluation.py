"""What is measured of a network: its error and its operations."""

import pytest
import torch
from torch import nn

from lzero_lab.datasets import Dataset
from lzero_lab.training.evaluation import error, operations, whole_network


@pytest.mark.parametrize("batch_size", [1, 3, 1000])
def test_the_error_is_the_share_of_wrong_answers_in_eval_mode(batch_size):
    model = nn.Sequential(nn.Dropout(0.9), nn.Identity()).train()
    x, y = torch.eye(4), torch.tensor([0, 1, 2, 0])
    assert error(model, x, y, batch_size) == 0.25
    assert model.training


def test_operations_are_two_a_multiplication():
    model = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 4 * 6, 7)).train()
    assert operations(model, torch.rand(1, 3, 4, 6)) == 2 * (9 * 3 * 5 * 4 * 6 + 5 * 4 * 6 * 7)
    assert not model.training


def test_a_whole_network_is_counted_without_weights():
    x, y = torch.rand(2, 3, 32, 32), torch.zeros(2, dtype=torch.int64)
    state = torch.get_rng_state()
    model = whole_network("wrn-28-10", Dataset("made up", x, y, x, y, x, y))
    assert all(parameter.is_meta for parameter in model.parameters())
    assert sum(parameter.numel() for parameter in model.parameters()) == 36_479_194
    assert operations(model, x[:1]) > 10**10 and torch.get_rng_state().equal(state)
