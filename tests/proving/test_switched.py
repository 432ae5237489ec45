"""A configuration that asks for a cache gives what it gives without, or it is told."""

import pytest
import torch
from torch import nn

import lzero
from lzero.host.cache import asks_for_cache
from lzero.host.copies import copy_and_switches
from lzero.host.inputs import ExampleInputs
from lzero.proving.random_model import RandomModel
from lzero.proving.switched import same_results, why_not_switched


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


class Keeps(nn.Module):
    """A branch that returns a state beside what it adds."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        made = self.layer(x).tanh()
        return made, (made,)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.mixer, self.mlp = Keeps(), nn.Linear(4, 4)

    def forward(self, x):
        made, state = self.mixer(x)
        return x + made + self.mlp(x), state


class KeepsStates(nn.Module):
    """It reads the states of its branches where it is asked for a cache, which no call takes back."""

    def __init__(self):
        super().__init__()
        self.config, self.blocks = Config(), nn.ModuleList(Block() for _ in range(3))
        self.config.use_cache = True

    def forward(self, x, use_cache=None):
        kept = []
        for block in self.blocks:
            x, state = block(x)
            if self.config.use_cache:
                kept.append(state[0] * 1)
        return {"logits": x, "cache_params": kept}


def test_what_a_closed_branch_keeps_for_a_cache_is_asked_for_too():
    plan = lzero.discover(KeepsStates(), torch.randn(3, 4), granularity="depth")
    assert [group.name for group in plan.groups] == ["blocks", "blocks.*.mlp"]
    refused = {refusal.name: refusal.reason for refusal in plan.refusals}
    for name in ("blocks.0.mixer", "blocks.1.mixer", "blocks.2.mixer"):
        assert "with use_cache on, as its configuration says, the purged model fails in" in refused[name]


def test_a_purged_model_with_a_cache_is_compared_with_the_gated_one():
    whole = RandomModel(Cached(1.0), ExampleInputs.of(torch.randn(3, 4)))
    assert why_not_switched(whole, whole.model, whole.model) == ""
    assert "differ by" in why_not_switched(whole, whole.model, Cached(2.0).to(whole.dtype))
