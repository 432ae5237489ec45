"""A configuration that asks for a cache gives what it gives without, or it is told."""

import pytest
import torch
from torch import nn

from lzero.host.cache import asks_for_cache
from lzero.host.copies import copy_and_switches
from lzero.host.inputs import ExampleInputs
from lzero.proving.random_model import RandomModel
from lzero.proving.switched import same_results


class Config:
    use_cache = True


class Cached(nn.Module):
    """A layer whose results with a cache are ``scale`` times those without."""

    def __init__(self, scale):
        super().__init__()
        self.config, self.scale, self.layer = Config(), scale, nn.Linear(4, 4)
        self.config.use_cache = True

    def forward(self, x, use_cache=None):
        return self.layer(x) * (self.scale if self.config.use_cache else 1.0)


@pytest.mark.parametrize(("scale", "same"), [(1.0, True), (2.0, False)])
def test_results_with_and_without_a_cache_are_compared(scale, same):
    model = Cached(scale)
    assert asks_for_cache(model)
    spare, switched = copy_and_switches(model)
    assert switched and not spare.config.use_cache and model.config.use_cache
    whole = RandomModel(spare, ExampleInputs.of(torch.randn(3, 4)))
    assert whole.obstacle is None and same_results(whole, switched) is same
