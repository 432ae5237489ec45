"""A forward that casts to single precision is proved in double."""

import torch
from streams import HandRms
from torch import nn

import lzero
from lzero.proving.precise import Precise


def test_casts_to_single_are_to_double_and_others_stay():
    x = torch.ones(2, dtype=torch.float64) / 3
    with Precise():
        assert x.to(torch.float32).dtype is x.float().dtype is torch.float64
        assert x.to(dtype=torch.float32).dtype is torch.softmax(x, 0, dtype=torch.float32).dtype is torch.float64
        assert torch.equal(x.float(), x)
        assert x.to(torch.float16).dtype is torch.float16 and torch.ones(1).dtype is torch.float32
    assert x.float().dtype is torch.float32


def test_what_rounding_in_single_precision_would_refuse_is_proved():
    model = nn.Sequential(nn.Linear(5, 12), HandRms(12), nn.Linear(12, 3))
    assert any(group.norms for group in lzero.discover(model, torch.randn(3, 5), granularity="width"))
